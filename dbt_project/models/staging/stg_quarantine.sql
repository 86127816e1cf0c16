-- grain: one row per line that could not be used; nothing of its content, which may be anything
{{ config(materialized='table') }}

{#- Line numbers cost a second read in file order, so only files that need it are read again. -#}
{%- set bad_files = files_in_quarantine(ref('stg_event_lines')) %}

with
-- DuckDB keeps the order of a file when it numbers rows.
events_numbered as (

    select
        file,
        problem,
        row_number() over () as n

    from {{ staged('events') }}
    where {{ "file in ('" ~ bad_files | join("', '") ~ "')" if bad_files else 'false' }}

),

events_placed as (

    select
        file,
        n - min(n) over (partition by file) + 1 as ordinal,
        problem as reason

    from events_numbered

),

unusable as (

    select
        file,
        ordinal,
        reason

    from events_placed
    where reason is not null

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
