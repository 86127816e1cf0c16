-- A feature that no event ever hits is a typing error in its patterns, or something the product does not log.
{{ config(severity='warn') }}

select features.feature_key
from {{ ref('stg_features') }} as features
left join {{ ref('int_event_features') }} as event_features
    on features.feature_key = event_features.feature_key
where event_features.feature_key is null
