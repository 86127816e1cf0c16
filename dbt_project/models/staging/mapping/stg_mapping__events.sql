-- grain: one row per line of the event files that is not blank, readable or not
{%- set events = mapped_input('events') %}
with
lines as ({{ raw_lines('mapping', 'events', are_joined=lookup_field() != '') }}),

extracted as (

    select
        file,
        line,
        read_order,
        {{ mapped_fields(events) }} as fields

    from lines

),

typed as (

    select
        file,
        line,
        read_order,
        {{ mapped(events, 'event_id') }} as event_id,
        {{ mapped(events, 'occurred_at', 'text') }} as raw_occurred_at,
        {{ mapped(events, 'occurred_at', 'timestamp') }} as occurred_at,
        {{ mapped(events, 'received_at', 'timestamp') }} as received_at,
        {{ mapped(events, 'account_id') }} as account_id,
        {{ mapped(events, 'user_id') }} as user_id,
        {{ mapped(events, 'event_name') }} as event_name,
        coalesce({{ mapped(events, 'quantity', 'double') }}, 1) as quantity,
        {{ mapped_properties(events) }} as properties

    from extracted

),

-- Its content, so that a line that was read before is read again when it says something else: {{ lookup_content() }}
lookup as ({{ lookup_rows() }}),

found as (

    select
        typed.file,
        typed.line,
        typed.read_order,
        typed.event_id,
        typed.raw_occurred_at,
        typed.occurred_at,
        typed.received_at,
        {{ looked_up('account_id') }} as account_id,
        {{ looked_up('user_id') }} as user_id,
        {{ looked_up('event_name') }} as event_name,
        typed.quantity,
        typed.properties,
        {{ lookup_key() }} as looked_up

    from typed
    left join lookup
        on {{ lookup_key() }} = lookup.found

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
        {{ mapped_event_problem('line', events) }} as problem

    from found

)

select * from final
