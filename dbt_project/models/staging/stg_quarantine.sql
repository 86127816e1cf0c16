-- grain: one row per line that could not be used; nothing of its content, which may be anything
{{ config(materialized='table') }}

with
event_lines as (select * from {{ ref('stg_event_lines') }}),

unreadable as (select * from {{ staged('unreadable') }}),

unusable as (

    select
        file,
        line_no,
        problem as reason

    from event_lines
    where problem is not null

    union all

    select
        file,
        line_no,
        reason

    from unreadable

),

final as (

    select
        {{ relative_to_raw('file') }} as file,
        line_no,
        reason

    from unusable

)

select * from final
