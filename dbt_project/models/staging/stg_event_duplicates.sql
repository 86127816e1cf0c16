-- grain: one row per line that tells of an event which another line tells of as well, and which counts
{{ config(materialized='table') }}

with
lines as (select * from {{ ref('stg_event_lines') }}),

-- Hashes are compared first, and ids only where those agree: numbers are grouped in a fraction of the time.
repeated as (

    select hash(event_id) as event_hash
    from lines
    where problem is null
    group by 1
    having count(*) > 1

),

-- Of several lines with one id the last received counts; the rest of the order only makes it the same every time.
ranked as (

    select
        lines.file,
        lines.read_order,
        row_number() over (
            partition by lines.event_id
            order by
                lines.received_at desc nulls last,
                lines.occurred_at asc,
                lines.account_id asc,
                lines.user_id asc,
                lines.event_name asc,
                lines.quantity asc,
                lines.properties asc,
                lines.file asc,
                lines.read_order asc
        ) as preference

    from lines
    where lines.problem is null and hash(lines.event_id) in (select repeated.event_hash from repeated)

),

final as (

    select
        file,
        read_order

    from ranked
    where preference > 1

)

select * from final
