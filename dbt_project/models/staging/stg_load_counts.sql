-- grain: one row: what became of the lines of the event files; lines = events + duplicates + quarantined
{{ config(materialized='table') }}

with
lines as (select * from {{ ref('stg_event_lines') }}),

events as (select * from {{ ref('stg_usage_events') }}),

duplicates as (select * from {{ ref('stg_event_duplicates') }}),

line_counts as (

    select
        count(*) as lines,
        count(problem) as quarantined

    from lines

),

event_counts as (

    select
        count(*) as events,
        count(*) - count(user_id) as unattributed

    from events

),

duplicate_counts as (

    select count(*) as duplicates
    from duplicates

),

final as (

    select
        line_counts.lines,
        event_counts.events,
        duplicate_counts.duplicates,
        line_counts.quarantined,
        event_counts.unattributed

    from line_counts
    cross join event_counts
    cross join duplicate_counts

)

select * from final
