-- grain: one row per feature of the active source and plan that includes it; a feature without rows is in every plan
with
catalog as (select * from {{ ref('stg_catalog_rows') }}),

final as (

    select distinct
        feature_key,
        trim(unnest(string_split(plans_entitled, '|'))) as plan

    from catalog
    where source = '{{ active_source() }}' and plans_entitled is not null

)

select * from final
