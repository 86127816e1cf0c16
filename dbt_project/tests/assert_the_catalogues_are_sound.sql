-- What a typing error in a seed would do in silence: rows of every source, not only of the active one.
with
features as (select * from {{ ref('feature_catalog') }}),

friction as (select * from {{ ref('friction_catalog') }}),

-- Steps up the ladder only: so no feature can build on itself, by whatever detour.
features_judged as (

    select
        features.source,
        features.feature_key as catalogued,
        case
            when features.prerequisite is not null and prerequisites.feature_key is null
                then 'its prerequisite is no feature of this source'
            when features.prerequisite is not null and not prerequisites.ladder_rank < features.ladder_rank
                then 'its prerequisite does not stand lower on the ladder'
            when features.ladder_rank < 1 then 'rungs count from 1'
            when
                features.ladder_rank is not null
                and count(*) over (partition by features.source, features.ladder_rank) > 1
                then 'two features on one rung'
            when features.adopted_days is null or not features.adopted_days between 1 and {{ var('window_days') }}
                then 'adopted_days does not fit into a window'
            when trim(coalesce(features.event_patterns, '')) = '' or features.event_patterns like '%||%'
                then 'an empty event pattern'
            when features.weight is null or features.weight <= 0 then 'no weight above 0'
            when features.minutes_saved_per_use < 0 then 'saves less than no time'
        end as problem

    from features
    left join features as prerequisites
        on features.source = prerequisites.source and features.prerequisite = prerequisites.feature_key

),

friction_judged as (

    select
        source,
        event_pattern as catalogued,
        case
            when kind is null or kind not in ({{ friction_kind_names() }}) then 'an unknown kind of friction'
            when trim(coalesce(event_pattern, '')) = '' then 'an empty event pattern'
            when count(*) over (partition by source, event_pattern) > 1 then 'one pattern twice'
        end as problem

    from friction

),

final as (

    select
        source,
        catalogued,
        problem

    from features_judged
    where problem is not null

    union all

    select
        source,
        catalogued,
        problem

    from friction_judged
    where problem is not null

)

select * from final
