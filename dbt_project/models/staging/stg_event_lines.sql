-- grain: one row per line of the event files: the one place where raw events are read and typed, each file once
{{ config(materialized='by_file') }}

with
lines as materialized (

    select
        file,
        read_order,
        is_usage,
        event_id,
        case when event_id is null and problem is null then md5(cast(line as varchar)) end as line_hash,
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

-- Without an id, the k-th copy of a line within its file is the k-th such event: two equal lines in one file are two
-- events, the same file downloaded twice is not. Only lines that come more than once are numbered.
repeated as (

    select
        file,
        line_hash

    from lines
    where line_hash is not null
    group by file, line_hash
    having count(*) > 1

),

copies as (

    select
        lines.read_order,
        row_number() over (partition by lines.file, lines.line_hash order by lines.read_order) as copy_in_file

    from lines
    inner join repeated
        on lines.file = repeated.file and lines.line_hash = repeated.line_hash

),

-- A file is read as a whole, so its lines follow each other without a gap.
flawed_files as (

    select
        file,
        min(read_order) as first_read_order,
        {{ event_line_numbers('file') }} as line_numbers

    from lines
    group by file
    having count(problem) > 0

),

flaws as (

    select
        lines.read_order,
        flawed_files.line_numbers[lines.read_order - flawed_files.first_read_order + 1] as line_no

    from lines
    inner join flawed_files
        on lines.file = flawed_files.file
    where lines.problem is not null

),

identified as (

    select
        lines.file,
        lines.read_order,
        flaws.line_no,
        case
            when lines.problem is null
                then coalesce(lines.event_id, md5(lines.line_hash || ':' || coalesce(copies.copy_in_file, 1)))
        end as event_id,
        lines.occurred_at,
        lines.received_at,
        lines.account_id,
        lines.user_id,
        lines.event_name,
        -- Sums of decimals do not depend on the order of the rows. What does not fit is no quantity.
        coalesce(try_cast(lines.quantity as decimal(28, 9)), 1) as quantity,
        lines.properties,
        lines.problem

    from lines
    left join copies
        on lines.read_order = copies.read_order
    left join flaws
        on lines.read_order = flaws.read_order
    -- What tells of people or accounts only is read elsewhere; here it was counted to know the numbers of lines.
    where lines.is_usage

),

final as (

    select
        file,
        read_order,
        line_no,
        event_id,
        case when problem is null then hash(event_id) end as event_hash,
        cast(occurred_at as date) as date_day,
        occurred_at,
        received_at,
        account_id,
        user_id,
        event_name,
        quantity,
        properties,
        problem

    from identified

)

select * from final
