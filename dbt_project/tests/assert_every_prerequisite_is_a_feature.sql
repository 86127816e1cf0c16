-- A prerequisite stands lower on the ladder, or nobody would ever be taught what builds on it.
with
features as (select * from {{ ref('stg_features') }}),

final as (

    select
        features.feature_key,
        features.prerequisite

    from features
    left join features as prerequisites
        on features.prerequisite = prerequisites.feature_key and features.ladder_rank > prerequisites.ladder_rank
    where features.prerequisite is not null and prerequisites.feature_key is null

)

select * from final
