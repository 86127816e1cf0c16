-- grain: one row per contact and feature it ever used; no row means never
{{ config(materialized='view') }}

-- A view, because the days of every row change every day, and nothing is computed here that is not cheaper than a copy.
with
feature_use as (select * from {{ ref('int_feature_use') }}),

features as (select * from {{ ref('dim_features') }}),

final as (

    select
        feature_use.contact_id,
        feature_use.account_id,
        feature_use.feature_key,
        {{ adoption_state(
            'feature_use.days_used_28',
            'features.adopted_days',
            'feature_use.first_adopted_on',
            'feature_use.last_used_on',
        ) }} as adoption_state,
        feature_use.days_used_28,
        feature_use.first_used_on,
        feature_use.last_used_on,
        feature_use.first_adopted_on

    from feature_use
    inner join features
        on feature_use.feature_key = features.feature_key
    where feature_use.contact_id <> ''

)

select * from final
