-- grain: one row per account and finished week, the last half year of them: its health on the week's Sunday
with
accounts as (select * from {{ ref('accounts_current') }}),

described as (select * from {{ ref('dim_accounts') }}),

features as (select * from {{ ref('dim_features') }}),

daily as (select * from {{ ref('fct_account_feature_daily') }}),

account_weeks as (select * from {{ ref('int_account_weeks') }}),

plan_features as (select * from {{ ref('int_plan_features') }}),

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
account_weeks_lived as (

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

),

feature_weeks as (

    select
        account_id,
        feature_key,
        {{ week_no('date_day') }} as week_no,
        count(*) as use_days

    from daily
    where
        date_day >= (
            select {{ history_start('as_of.as_of_day', 3) }}
            from as_of
        )
    group by account_id, feature_key, {{ week_no('date_day') }}

),

offsets as (

    select generated_number - 1 as weeks_later
    from ({{ weeks_of_window() }}) as numbers

),

feature_windows as (

    select
        feature_weeks.account_id,
        feature_weeks.feature_key,
        feature_weeks.week_no + offsets.weeks_later as week_no,
        sum(feature_weeks.use_days) as days_used_28

    from feature_weeks
    cross join offsets
    group by feature_weeks.account_id, feature_weeks.feature_key, feature_weeks.week_no + offsets.weeks_later

),

adopted as (

    select
        lived.account_id,
        lived.week_no,
        count(*) as count_features_adopted

    from feature_windows
    inner join features
        on
            feature_windows.feature_key = features.feature_key
            and feature_windows.days_used_28 >= features.adopted_days
    inner join account_weeks_lived as lived
        on feature_windows.account_id = lived.account_id and feature_windows.week_no = lived.week_no
    inner join plan_features
        on lived.plan = plan_features.plan and feature_windows.feature_key = plan_features.feature_key
    group by lived.account_id, lived.week_no

),

entitled as (

    select
        plan,
        count(*) as count_features_entitled

    from plan_features
    group by plan

),

measured as (

    select
        lived.account_id,
        lived.week_ends_on,
        lived.plan,
        lived.seats,
        lived.age_days,
        entitled.count_features_entitled,
        case
            when entitled.count_features_entitled is not null then coalesce(adopted.count_features_adopted, 0)
        end as count_features_adopted,
        coalesce(now.count_active_contacts_28, 0) as count_active_contacts_28,
        {{ ratio('coalesce(now.count_active_contacts_28, 0)', 'lived.seats') }} as seats_used_share,
        case
            when {{ covers_previous_window('lived.log_age_days') }}
                then {{ ratio(
                    'coalesce(now.sum_active_days_28, 0) - before.sum_active_days_28', 'before.sum_active_days_28'
                ) }}
        end as usage_trend,
        -- Longer ago than a window is as bad as a window ago.
        case
            when now.last_used_on is not null then {{ days_ago('now.last_used_on', 'lived.week_ends_on') }}
            when lived.first_used_on is not null then {{ var('window_days') }}
        end as days_since_last_use,
        coalesce(lived.age_days, {{ days_ago('lived.first_used_on', 'lived.week_ends_on') }}) as known_age_days

    from account_weeks_lived as lived
    left join entitled
        on lived.plan = entitled.plan
    left join adopted
        on lived.account_id = adopted.account_id and lived.week_no = adopted.week_no
    left join account_weeks as now
        on lived.account_id = now.account_id and lived.week_no = now.week_no
    left join account_weeks as before
        on lived.account_id = before.account_id and lived.week_no - 4 = before.week_no

),

shares as (

    select
        *,
        {{ ratio('count_features_adopted', 'count_features_entitled') }} as adoption_breadth

    from measured

),

components as (

    select
        *,
        {{ health_components() }}

    from shares

),

scored as (

    select
        *,
        {{ health_score() }} as health,
        {{ health_coverage() }} as health_coverage

    from components

),

final as (

    select
        account_id,
        week_ends_on,
        plan,
        seats,
        age_days,
        cast(count_features_entitled as bigint) as count_features_entitled,
        cast(count_features_adopted as bigint) as count_features_adopted,
        adoption_breadth,
        cast(count_active_contacts_28 as bigint) as count_active_contacts_28,
        seats_used_share,
        usage_trend,
        health,
        health_coverage,
        case
            when health_coverage >= {{ var('health_min_coverage') }}
                then {{ band('health', 'known_age_days', 'health_bands') }}
        end as health_band

    from scored
    order by week_ends_on, account_id

)

select * from final
