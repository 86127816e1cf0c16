-- grain: one row: what became of the lines of the event files; lines = events + duplicates + quarantined
{{ config(materialized='table') }}

with
files as (select * from {{ ref('stg_event_files') }}),

days as (select * from {{ ref('stg_event_days') }}),

file_counts as (

    select
        coalesce(sum(count_lines), 0) as lines,
        coalesce(sum(count_quarantined), 0) as quarantined

    from files

),

day_counts as (

    select
        coalesce(sum(count_events), 0) as events,
        coalesce(sum(count_duplicates), 0) as duplicates,
        coalesce(sum(count_unattributed), 0) as unattributed

    from days

),

final as (

    select
        cast(file_counts.lines as bigint) as lines,
        cast(day_counts.events as bigint) as events,
        cast(day_counts.duplicates as bigint) as duplicates,
        cast(file_counts.quarantined as bigint) as quarantined,
        cast(day_counts.unattributed as bigint) as unattributed

    from file_counts
    cross join day_counts

)

select * from final
