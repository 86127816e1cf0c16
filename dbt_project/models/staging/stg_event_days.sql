-- grain: one row per UTC day and event name; what the events add up to, so that nothing has to read them to know
{{ config(materialized='ephemeral') }}

select
    date_day,
    event_name,
    count_events,
    count_unattributed,
    count_duplicates,
    first_occurred_at,
    last_occurred_at,
    fingerprint

from {{ companion(ref('stg_event_lines'), 'days') }}
