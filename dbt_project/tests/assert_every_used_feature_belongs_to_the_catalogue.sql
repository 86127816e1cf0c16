select distinct daily.feature_key
from {{ ref('fct_account_feature_daily') }} as daily
left join {{ ref('dim_features') }} as features
    on daily.feature_key = features.feature_key
where features.feature_key is null
