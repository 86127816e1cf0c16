-- grain: one row per event name that no feature of the catalogue claims
with
event_days as (select * from {{ ref('stg_event_days') }}),

event_features as (select * from {{ ref('int_event_features') }}),

counted as (

    select
        event_name,
        sum(count_events) as count_events

    from event_days
    group by event_name
    having sum(count_events) > 0

),

final as (

    select
        counted.event_name,
        cast(counted.count_events as bigint) as count_events

    from counted
    left join event_features
        on counted.event_name = event_features.event_name
    where event_features.event_name is null

)

select * from final
