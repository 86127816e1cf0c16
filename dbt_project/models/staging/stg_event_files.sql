-- grain: one row per event file, as it was when its lines were read
{{ config(materialized='ephemeral') }}

select
    file,
    file_version,
    count_lines,
    count_quarantined

from {{ companion(ref('stg_event_lines'), 'files') }}
