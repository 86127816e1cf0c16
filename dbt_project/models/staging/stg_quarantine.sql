-- grain: one row per line that could not be used; nothing of its content, which may be anything
{{ config(materialized='table') }}

{#- Line numbers cost a second read in file order, so only files that need it are read again. -#}
{%- set event_lines = ref('stg_event_lines') -%}
{%- set bad_files = [] -%}
{%- if execute -%}
    {%- for file in run_query(
        "select distinct file from " ~ event_lines ~ " where problem is not null order by file"
    ).columns[0].values() -%}
        {%- do bad_files.append(file | replace("'", "''")) -%}
    {%- endfor -%}
{%- endif -%}

with
-- DuckDB keeps the order of a file when it numbers rows.
events_numbered as (

    select
        file,
        problem,
        row_number() over () as n

    from {{ staged('events') }}
    where {% if bad_files %}file in ('{{ bad_files | join("', '") }}'){% else %}false{% endif %}

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
        file,
        uptake_line_numbers(file) as line_numbers

    from (select distinct unusable.file from unusable)

),

final as (

    select
        replace(unusable.file, '{{ (raw_folder() ~ '/') | replace("'", "''") }}', '') as file,
        file_lines.line_numbers[unusable.ordinal] as line_no,
        unusable.reason

    from unusable
    inner join file_lines
        on unusable.file = file_lines.file

)

select * from final
