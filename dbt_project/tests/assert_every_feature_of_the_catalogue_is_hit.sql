-- A feature that no event ever hits is a typing error in its patterns, or something the product does not log.
{{ config(severity='warn') }}
{{ say_what_the_sample_hits(ref('int_event_features')) }}

with
features as (select * from {{ ref('stg_features') }}),

event_features as (select * from {{ ref('int_event_features') }}),

final as (

    select features.feature_key

    from features
    left join event_features
        on features.feature_key = event_features.feature_key
    where event_features.feature_key is null

)

select * from final
where {{ 'false' if is_sample() else 'true' }}
