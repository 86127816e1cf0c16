-- grain: one row per line that could not be used; nothing of its content, which may be anything
{{ config(materialized='table') }}

with
lines as (select * from {{ ref('stg_event_lines') }}),

-- A file is read as a whole, so its lines follow each other without a gap.
first_lines as (

    select
        file,
        min(read_order) as read_order

    from lines
    group by file
    having count(problem) > 0

),

unusable as (

    select
        lines.file,
        lines.read_order - first_lines.read_order + 1 as ordinal,
        lines.problem as reason

    from lines
    inner join first_lines
        on lines.file = first_lines.file
    where lines.problem is not null

    union all

    select
        file,
        ordinal,
        reason

    from {{ staged('unreadable') }}

),

file_lines as (

    select
        files.file,
        uptake_line_numbers(files.file) as line_numbers

    from (select distinct unusable.file from unusable) as files

),

final as (

    select
        {{ relative_to_raw('unusable.file') }} as file,
        file_lines.line_numbers[unusable.ordinal] as line_no,
        unusable.reason

    from unusable
    inner join file_lines
        on unusable.file = file_lines.file

)

select * from final
