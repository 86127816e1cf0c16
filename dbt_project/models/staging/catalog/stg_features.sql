-- grain: one row per feature of the active source
with
catalog as (select * from {{ ref('stg_catalog_rows') }}),

final as (

    select
        feature_key,
        name,
        weight,
        minutes_saved_per_use,
        guide_url,
        ladder_rank,
        adopted_days,
        prerequisite

    from catalog
    where source = '{{ active_source() }}'

)

select * from final
