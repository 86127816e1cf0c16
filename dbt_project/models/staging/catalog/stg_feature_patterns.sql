-- grain: one row per feature of the active source and pattern of event names that mean its use
with
catalog as (select * from {{ ref('stg_catalog_rows') }}),

final as (

    select distinct
        feature_key,
        trim(unnest(string_split(event_patterns, '|'))) as event_pattern

    from catalog
    where source = '{{ active_source() }}'

)

select * from final
