-- grain: one row per group that a group call tells of
with
traits as (select * from {{ ref('stg_segment__traits') }}),

final as ({{ accounts_of_traits('traits') }})

select * from final
