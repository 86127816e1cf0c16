-- grain: one row per pattern of event names of the active source that mean friction, with its kind
with
catalog as (select * from {{ ref('friction_catalog') }}),

final as (

    select distinct
        trim(event_pattern) as event_pattern,
        kind

    from catalog
    where source = '{{ active_source() }}'

)

select * from final
