-- grain: one row per line of the event files that is not blank, readable or not
with
lines as (
    {{ raw_records('uptake', 'events', [
        'event_id', 'occurred_at', 'received_at', 'account_id', 'user_id', 'event_name', 'quantity', 'properties'
    ]) }}
),

typed as (

    select
        file,
        record as line,
        read_order,
        {{ plain_text_or_null('event_id') }} as event_id,
        occurred_at as raw_occurred_at,
        {{ unchecked_timestamp('occurred_at') }} as occurred_at,
        {{ unchecked_timestamp('received_at') }} as received_at,
        {{ plain_text_or_null('account_id') }} as account_id,
        {{ plain_text_or_null('user_id') }} as user_id,
        {{ plain_text_or_null('event_name') }} as event_name,
        coalesce({{ number_or_null('quantity') }}, 1) as quantity,
        properties

    from lines

),

-- Of a line without an id, what it says in our fields is the line.
final as (

    select
        file,
        line,
        read_order,
        true as is_usage,
        event_id,
        occurred_at,
        {{ in_calendar('received_at') }} as received_at,
        account_id,
        user_id,
        event_name,
        quantity,
        properties,
        case
            when line is null then 'not JSON in UTF-8'
            when account_id is null and event_name is null and raw_occurred_at is null
                then 'not a JSON object with account_id, event_name and occurred_at'
            when account_id is null then 'no account_id'
            when event_name is null then 'no event_name'
            when raw_occurred_at is null then 'no occurred_at'
            when {{ in_calendar('occurred_at') }} is null then 'occurred_at is not an ISO 8601 time'
        end as problem

    from typed

)

select * from final
