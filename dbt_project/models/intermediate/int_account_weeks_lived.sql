-- grain: one row per account and finished week, of the last half year, on whose Sunday it lived; its contract that day
{{ config(materialized='ephemeral') }}

with
accounts as (select * from {{ ref('accounts_current') }}),

described as (select * from {{ ref('dim_accounts') }}),

subscriptions as (select * from {{ ref('stg_subscriptions') }}),

as_of as (select * from {{ ref('int_as_of') }}),

numbers as (

    {{ history_weeks() }}

),

week_numbers as (

    select {{ week_no('as_of.as_of_day') }} - numbers.generated_number as week_no
    from as_of
    cross join numbers

),

-- A week whose window begins before the usage log does is not known.
log as (

    select min(first_used_on) as begins_on
    from accounts

),

weeks as (

    select
        week_numbers.week_no,
        {{ week_ends_on('week_numbers.week_no') }} as week_ends_on,
        {{ days_ago('log.begins_on', week_ends_on('week_numbers.week_no')) }} as log_age_days

    from week_numbers
    cross join log
    where {{ covers_window(days_ago('log.begins_on', week_ends_on('week_numbers.week_no'))) }}

),

-- The subscription that held on the Sunday; of several, the one that started last.
subscribed as (

    select
        subscriptions.account_id,
        weeks.week_no,
        subscriptions.plan,
        subscriptions.seats,
        row_number() over (
            partition by subscriptions.account_id, weeks.week_no
            order by subscriptions.started_on desc, subscriptions.subscription_id desc
        ) as recency

    from subscriptions
    inner join weeks
        on
            subscriptions.started_on <= weeks.week_ends_on
            and (subscriptions.ended_on is null or subscriptions.ended_on > weeks.week_ends_on)

),

subscribers as (

    select distinct account_id
    from subscriptions

),

-- Where contracts are known, a week without one has no plan: today's must not stand in for it. Where none is known at
-- all, what the account itself says is the only word there is.
final as (

    select
        accounts.account_id,
        weeks.week_no,
        weeks.week_ends_on,
        weeks.log_age_days,
        case when subscribers.account_id is null then accounts.plan else subscribed.plan end as plan,
        case when subscribers.account_id is null then accounts.seats else subscribed.seats end as seats,
        {{ days_ago('described.created_at', 'weeks.week_ends_on') }} as age_days,
        case when accounts.first_used_on <= weeks.week_ends_on then accounts.first_used_on end as first_used_on

    from accounts
    inner join described
        on accounts.account_id = described.account_id
    inner join weeks
        on
            coalesce(cast(described.created_at as date), accounts.contract_started_on, accounts.first_used_on)
            <= weeks.week_ends_on
            and (described.churned_on is null or described.churned_on > weeks.week_ends_on)
    left join subscribers
        on accounts.account_id = subscribers.account_id
    left join subscribed
        on
            accounts.account_id = subscribed.account_id
            and weeks.week_no = subscribed.week_no
            and subscribed.recency = 1

)

select * from final
