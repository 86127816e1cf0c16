-- "Somewhere in this file" is no help to whoever has to mend it.
select *
from {{ ref('stg_quarantine') }}
where line_no is null or file is null or reason is null
