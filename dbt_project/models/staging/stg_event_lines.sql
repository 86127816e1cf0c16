-- grain: one row per line of the event files: the one place where raw events are read and typed
{{ config(materialized='table') }}

with
lines as materialized (

    select
        file,
        event_id,
        -- What makes two lines the same: the id they came with, or the whole line.
        coalesce(event_id, md5(cast(line as varchar))) as line_key,
        occurred_at,
        received_at,
        account_id,
        user_id,
        event_name,
        quantity,
        properties,
        problem

    from {{ staged('events') }}

),

repeated_keys as (

    select line_key
    from lines
    where problem is null
    group by line_key
    having count(*) > 1

),

-- Only lines that come more than once are sorted. Without an id, the k-th copy of a line within its file is the
-- k-th such event: two equal lines in one file are two events, the same file downloaded twice is not.
numbered as (

    select
        lines.*,
        row_number() over (partition by lines.line_key, lines.file, lines.event_id is null) as copy_in_file

    from lines
    semi join repeated_keys on lines.line_key = repeated_keys.line_key
    where lines.problem is null

),

-- Of several lines with one id the last received counts; the rest of the order only makes it the same every time.
deduplicated as (

    select
        *,
        coalesce(event_id, md5(line_key || ':' || copy_in_file)) as final_event_id,
        row_number() over (
            partition by coalesce(event_id, md5(line_key || ':' || copy_in_file))
            order by
                received_at desc nulls last,
                occurred_at asc,
                account_id asc,
                user_id asc,
                event_name asc,
                quantity asc,
                properties asc
        ) > 1 as is_duplicate

    from numbered

),

single as (

    select lines.*
    from lines
    anti join repeated_keys on lines.line_key = repeated_keys.line_key and lines.problem is null

),

final as (

    select
        file,
        case when problem is null then coalesce(event_id, md5(line_key || ':1')) end as event_id,
        occurred_at,
        received_at,
        account_id,
        user_id,
        event_name,
        quantity,
        properties,
        problem,
        false as is_duplicate

    from single

    union all

    select
        file,
        final_event_id as event_id,
        occurred_at,
        received_at,
        account_id,
        user_id,
        event_name,
        quantity,
        properties,
        problem,
        is_duplicate

    from deduplicated

)

select * from final
