-- grain: one row per account and contact that met friction in the last 28 days; contact is NULL where it is not known
with
events as (select * from {{ ref('stg_usage_events') }}),

event_features as (select * from {{ ref('int_event_features') }}),

event_days as (select * from {{ ref('int_event_days') }}),

contacts as (select * from {{ ref('int_contacts') }}),

as_of as (select * from {{ ref('int_as_of') }}),

names as (

    select
        event_name,
        friction_kind

    from event_features
    where friction_kind is not null

),

-- Joined with its days, a log is read only where these are.
days as (

    select event_days.date_day
    from event_days
    cross join as_of
    where {{ in_window(days_ago('event_days.date_day', 'as_of.as_of_day')) }}

),

counted as (

    select
        events.account_id,
        events.user_id,
        names.friction_kind,
        count(*) as count_events

    from events
    inner join names
        on events.event_name = names.event_name
    inner join days
        on events.date_day = days.date_day
    where events.occurred_at <= (select as_of.as_of from as_of)
    group by 1, 2, 3

),

final as (

    select
        counted.account_id,
        contacts.contact_id,
        {{ friction_counts('counted.friction_kind', 'counted.count_events') }}

    from counted
    left join contacts
        on counted.account_id = contacts.account_id and counted.user_id = contacts.user_id
    group by 1, 2

)

select * from final
