-- grain: one row per account, contact, feature and day; contact is NULL for unattributed use, feature for unmapped
{{ config(materialized='by_day', days_of='int_event_days') }}

with
events as (select * from {{ ref('stg_usage_events') }}),

event_features as (select * from {{ ref('int_event_features') }}),

as_of as (select * from {{ ref('int_as_of') }}),

changed_days as (select date_day from {{ changed_days(ref('int_event_days')) }}),

-- Everything after this model reads days, never events. Events after as_of have not happened yet.
user_days as (

    select
        events.account_id,
        events.user_id,
        event_features.feature_key,
        events.date_day,
        count(*) as count_events,
        sum(events.quantity) as sum_quantity,
        min(events.occurred_at) as first_used_at

    from events
    inner join changed_days
        on events.date_day = changed_days.date_day
    left join event_features
        on events.event_name = event_features.event_name
    -- A join with one row is dearer: it is planned as a join of ranges.
    where
        events.occurred_at <= (select as_of.as_of from as_of)
        -- Who is turned away is not there.
        and event_features.friction_kind is null
    group by 1, 2, 3, 4

),

users as (

    select distinct
        account_id,
        user_id

    from user_days
    where user_id is not null

),

contacts as (

    select
        account_id,
        user_id,
        {{ contact_id('account_id', 'user_id') }} as contact_id

    from users

),

final as (

    select
        user_days.account_id,
        contacts.contact_id,
        user_days.user_id,
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
