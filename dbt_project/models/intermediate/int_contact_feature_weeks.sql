-- grain: one row per contact, feature and week of the last 28 days in which the contact used the feature
{{ config(materialized='ephemeral') }}

with
contact_feature_days as (select * from {{ ref('int_contact_feature_days') }}),

event_days as (select * from {{ ref('int_event_days') }}),

as_of as (select * from {{ ref('int_as_of') }}),

-- Weeks end on as_of's own day, so that the window holds four whole ones.
days as (

    select
        event_days.date_day,
        {{ weeks_ago(days_ago('event_days.date_day', 'as_of.as_of_day')) }} as weeks_ago

    from event_days
    cross join as_of
    where {{ in_window(days_ago('event_days.date_day', 'as_of.as_of_day')) }}

),

final as (

    select
        contact_feature_days.account_id,
        contact_feature_days.contact_id,
        contact_feature_days.feature_key,
        days.weeks_ago,
        cast(sum(contact_feature_days.count_events) as bigint) as count_uses

    from contact_feature_days
    inner join days
        on contact_feature_days.date_day = days.date_day
    where contact_feature_days.contact_id is not null and contact_feature_days.feature_key is not null
    group by 1, 2, 3, 4

)

select * from final
