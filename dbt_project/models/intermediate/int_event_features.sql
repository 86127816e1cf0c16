-- grain: one row per event name and feature it counts for; one event may serve several features
with
event_days as (select * from {{ ref('stg_event_days') }}),

patterns as (select * from {{ ref('stg_feature_patterns') }}),

event_names as (

    select distinct event_name
    from event_days

),

final as (

    select distinct
        event_names.event_name,
        patterns.feature_key

    from event_names
    inner join patterns
        on {{ matches_pattern('event_names.event_name', 'patterns.event_pattern') }}

)

select * from final
