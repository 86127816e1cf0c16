-- grain: one row per event name and feature it counts for; one event may serve several features
with
events as (select * from {{ ref('stg_usage_events') }}),

patterns as (select * from {{ ref('stg_feature_patterns') }}),

event_names as (

    select distinct event_name
    from events

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
