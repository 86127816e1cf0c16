-- grain: one row per line that could not be used; nothing of its content, which may be anything
{{ config(materialized='table') }}

with
event_lines as (select * from {{ ref('stg_event_lines') }}),

unreadable as (select * from {{ staged('unreadable') }}),

unreadable_files as (

    select
        file,
        uptake_line_numbers(file) as line_numbers

    from unreadable
    group by file

),

unusable as (

    select
        file,
        line_no,
        problem as reason

    from event_lines
    where problem is not null

    union all

    select
        unreadable.file,
        unreadable_files.line_numbers[unreadable.ordinal] as line_no,
        unreadable.reason

    from unreadable
    inner join unreadable_files
        on unreadable.file = unreadable_files.file

),

final as (

    select
        {{ relative_to_raw('file') }} as file,
        line_no,
        reason

    from unusable

)

select * from final
