-- grain: one row per line of the event files: the one place where raw events are read and typed, each file once
{{ config(materialized='by_file') }}

-- One pass, whose rows go straight into the table: read side by side, and in the order of the files, so that nothing
-- may be left out here, nor joined. What a line alone cannot tell `by_file` adds afterwards, to the few lines that need
-- it: the number of a flawed line, the ids of copies without one, and which lines are duplicates.
with
lines as (select * from {{ staged('events') }}),

-- What tells of people or accounts only is read elsewhere; it stays, as neither event nor problem, because the numbers
-- of the lines after it count it, too, and because rows that go again cost more than empty ones.
judged as (

    select
        file,
        read_order,
        coalesce(is_usage, false) and problem is null as is_event,
        event_id is not null as has_id,
        case
            when not coalesce(is_usage, false) or problem is not null then null
            when event_id is not null then event_id
            else {{ id_of_copy('md5(cast(line as varchar))', 1) }}
        end as event_id,
        occurred_at,
        received_at,
        account_id,
        user_id,
        event_name,
        -- Sums of decimals do not depend on the order of the rows. What does not fit is no quantity.
        coalesce(try_cast(quantity as decimal(28, 9)), 1) as quantity,
        case when is_usage then properties end as properties,
        case when is_usage then problem end as problem

    from lines

),

final as (

    select
        file,
        read_order,
        cast(null as bigint) as line_no,
        has_id,
        event_id,
        case when event_id is not null then hash(event_id) end as event_hash,
        cast(occurred_at as date) as date_day,
        occurred_at,
        received_at,
        account_id,
        user_id,
        event_name,
        quantity,
        properties,
        problem,
        -- Until `by_file` has compared all lines.
        case when is_event then false end as is_duplicate

    from judged

)

select * from final
