-- grain: one row per account and user, with the address: a view, never materialised
with
traits as (select * from {{ ref('stg_posthog__traits') }}),

events as (select * from {{ ref('stg_event_lines') }}),

final as ({{ people_of_traits('traits', 'events') }})

select * from final
