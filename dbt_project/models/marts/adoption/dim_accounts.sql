-- grain: one row per account, described by the source or seen in any of its inputs
with
described as (select * from {{ ref('stg_accounts') }}),

subscriptions as (select * from {{ ref('stg_subscriptions') }}),

contacts as (select * from {{ ref('int_contacts') }}),

feature_use as (select * from {{ ref('int_feature_use') }}),

as_of as (select * from {{ ref('int_as_of') }}),

seen as (

    select account_id from described
    union distinct
    select account_id from subscriptions
    union distinct
    select account_id from contacts
    union distinct
    select account_id from feature_use
    where contact_id = '' and feature_key = ''

),

-- The subscription that holds on as_of's day; of several, the one that started last.
running as (

    select
        subscriptions.account_id,
        subscriptions.plan,
        subscriptions.seats,
        subscriptions.arr,
        row_number() over (
            partition by subscriptions.account_id
            order by subscriptions.started_on desc, subscriptions.subscription_id desc
        ) as recency

    from subscriptions
    inner join as_of
        on
            subscriptions.started_on <= as_of.as_of_day
            and (subscriptions.ended_on is null or subscriptions.ended_on > as_of.as_of_day)

),

final as (

    select
        seen.account_id,
        coalesce(running.plan, described.plan, 'default') as plan,
        described.region,
        described.time_zone,
        described.locale,
        described.created_at,
        coalesce(running.arr, described.arr) as arr,
        described.currency,
        coalesce(running.seats, described.seats) as seats,
        described.renewal_on,
        -- Nothing said about churn means a customer, nothing said about being internal means an outsider.
        coalesce(described.churned_on <= as_of.as_of_day, false) as churned,
        described.churned_on,
        coalesce(described.is_internal, false) as is_internal,
        described.csm

    from seen
    cross join as_of
    left join described
        on seen.account_id = described.account_id
    left join running
        on seen.account_id = running.account_id and running.recency = 1

)

select * from final
