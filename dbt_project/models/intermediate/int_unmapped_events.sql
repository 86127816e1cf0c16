-- grain: one row per event name that no feature of the catalogue claims
with
events as (select * from {{ ref('stg_usage_events') }}),

event_features as (select * from {{ ref('int_event_features') }}),

counted as (

    select
        event_name,
        count(*) as count_events

    from events
    group by event_name

),

final as (

    select
        counted.event_name,
        counted.count_events

    from counted
    left join event_features
        on counted.event_name = event_features.event_name
    where event_features.event_name is null

)

select * from final
