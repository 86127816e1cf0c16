-- A line that is none of these would be lost in silence.
select counts.*
from {{ ref('stg_load_counts') }} as counts
where
    counts.lines <> counts.events + counts.duplicates + counts.quarantined
    or counts.events <> (select count(*) from {{ ref('stg_usage_events') }})
    or counts.quarantined > (select count(*) from {{ ref('stg_quarantine') }})
