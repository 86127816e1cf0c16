-- grain: one row per account, contact, feature and day; contact is NULL for unattributed use, feature for unmapped
with
events as (select * from {{ ref('stg_usage_events') }}),

event_features as (select * from {{ ref('int_event_features') }}),

contacts as (select * from {{ ref('int_contacts') }}),

as_of as (select * from {{ ref('int_as_of') }}),

-- Everything after this model reads days, never events. Events after as_of have not happened yet.
user_days as (

    select
        events.account_id,
        events.user_id,
        event_features.feature_key,
        cast(events.occurred_at as date) as date_day,
        count(*) as count_events,
        sum(events.quantity) as sum_quantity,
        min(events.occurred_at) as first_used_at

    from events
    left join event_features
        on events.event_name = event_features.event_name
    -- A join with one row is dearer: it is planned as a join of ranges.
    where events.occurred_at <= (select as_of.as_of from as_of)
    group by 1, 2, 3, 4

),

final as (

    select
        user_days.account_id,
        contacts.contact_id,
        user_days.feature_key,
        user_days.date_day,
        user_days.count_events,
        user_days.sum_quantity,
        user_days.first_used_at

    from user_days
    left join contacts
        on user_days.account_id = contacts.account_id and user_days.user_id = contacts.user_id

)

select * from final
