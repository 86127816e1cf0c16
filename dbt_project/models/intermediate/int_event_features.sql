-- grain: one row per event name and feature it counts for, several perhaps; or per event name that means friction
with
event_days as (select * from {{ ref('stg_event_days') }}),

patterns as (select * from {{ ref('stg_feature_patterns') }}),

friction_patterns as (select * from {{ ref('stg_friction_patterns') }}),

event_names as (

    select distinct event_name
    from event_days

),

-- Who is kept from using something does not use it, whatever feature's pattern fits the name as well.
friction as (

    select
        event_names.event_name,
        min(friction_patterns.kind) as friction_kind

    from event_names
    inner join friction_patterns
        on {{ matches_pattern('event_names.event_name', 'friction_patterns.event_pattern') }}
    group by event_names.event_name

),

final as (

    select distinct
        event_names.event_name,
        patterns.feature_key,
        cast(null as varchar) as friction_kind

    from event_names
    inner join patterns
        on {{ matches_pattern('event_names.event_name', 'patterns.event_pattern') }}
    left join friction
        on event_names.event_name = friction.event_name
    where friction.event_name is null

    union all

    select
        event_name,
        cast(null as varchar) as feature_key,
        friction_kind

    from friction

)

select * from final
