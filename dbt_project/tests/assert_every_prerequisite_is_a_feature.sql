select features.feature_key, features.prerequisite
from {{ ref('stg_features') }} as features
left join {{ ref('stg_features') }} as prerequisites
    on features.prerequisite = prerequisites.feature_key and prerequisites.ladder_rank < features.ladder_rank
where features.prerequisite is not null and prerequisites.feature_key is null
