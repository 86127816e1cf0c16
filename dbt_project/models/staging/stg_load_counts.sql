-- grain: one row: what became of the lines of the event files; lines = events + duplicates + quarantined
{{ config(materialized='table') }}

with
lines as (select * from {{ ref('stg_event_lines') }}),

final as (

    select
        count(*) as lines,
        count(*) filter (where problem is null and not is_duplicate) as events,
        count(*) filter (where problem is null and is_duplicate) as duplicates,
        count(*) filter (where problem is not null) as quarantined,
        count(*) filter (where problem is null and not is_duplicate and user_id is null) as unattributed

    from lines

)

select * from final
