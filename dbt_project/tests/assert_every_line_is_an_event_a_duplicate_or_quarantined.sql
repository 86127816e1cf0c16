-- A line that is none of these would be lost in silence; one without a number cannot be mended.
with
counts as (select * from {{ ref('stg_load_counts') }}),

events as (select count(*) as found from {{ ref('stg_usage_events') }}),

quarantine as (

    select
        count(*) as found,
        count(case when line_no is null or file is null or reason is null then 1 end) as unplaced

    from {{ ref('stg_quarantine') }}

),

final as (

    select
        counts.lines,
        counts.events,
        counts.duplicates,
        counts.quarantined,
        events.found as events_found,
        quarantine.found as quarantined_found,
        quarantine.unplaced

    from counts
    cross join events
    cross join quarantine
    where
        counts.lines <> counts.events + counts.duplicates + counts.quarantined
        or counts.events <> events.found
        or counts.quarantined > quarantine.found
        or quarantine.unplaced > 0

)

select * from final
