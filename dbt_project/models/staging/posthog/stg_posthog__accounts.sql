-- grain: one row per group that a $groupidentify event tells of
with
traits as (select * from {{ ref('stg_posthog__traits') }}),

final as ({{ accounts_of_traits('traits') }})

select * from final
