-- grain: one row per feature of the active source
with
features as (select * from {{ ref('stg_features') }}),

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

    from features

)

select * from final
