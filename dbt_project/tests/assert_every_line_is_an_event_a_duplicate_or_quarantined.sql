-- A line that is none of these would be lost in silence; one without a number cannot be mended.
select counts.*
from {{ ref('stg_load_counts') }} as counts
where
    counts.lines <> counts.events + counts.duplicates + counts.quarantined
    or counts.events <> (select count(*) from {{ ref('stg_usage_events') }})
    or counts.quarantined > (select count(*) from {{ ref('stg_quarantine') }})
    or exists (select 1 from {{ ref('stg_quarantine') }} where line_no is null or file is null or reason is null)
