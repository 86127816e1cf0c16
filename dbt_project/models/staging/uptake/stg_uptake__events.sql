-- grain: one row per line of the event files that is not blank, readable or not
with
lines as ({{ raw_lines('uptake', 'events') }}),

extracted as (

    select
        file,
        line,
        read_order,
        {{ fields('line', [
            'event_id', 'occurred_at', 'received_at', 'account_id', 'user_id', 'event_name', 'quantity', 'properties'
        ]) }} as fields

    from lines

),

typed as (

    select
        file,
        line,
        read_order,
        {{ text_or_null('fields[1]') }} as event_id,
        fields[2] as raw_occurred_at,
        {{ timestamp_or_null('fields[2]') }} as occurred_at,
        {{ timestamp_or_null('fields[3]') }} as received_at,
        {{ text_or_null('fields[4]') }} as account_id,
        {{ text_or_null('fields[5]') }} as user_id,
        {{ text_or_null('fields[6]') }} as event_name,
        coalesce({{ number_or_null('fields[7]') }}, 1) as quantity,
        fields[8] as properties

    from extracted

),

final as (

    select
        file,
        line,
        read_order,
        true as is_usage,
        event_id,
        occurred_at,
        received_at,
        account_id,
        user_id,
        event_name,
        quantity,
        properties,
        {{ problem_of('line', [
            ('account_id', 'no account_id'),
            ('event_name', 'no event_name'),
            ('raw_occurred_at', 'no occurred_at'),
            ('occurred_at', 'occurred_at is not an ISO 8601 time'),
        ]) }} as problem

    from typed

)

select * from final
