-- grain: one row per line of the event files that is not blank, readable or not
{%- set events = mapped_input('events') %}
{%- set lookup = mapping().get('lookup') %}
with
lines as ({{ raw_lines('mapping', 'events') }}),

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
        {{ mapped_text(events.fields.occurred_at) if events.fields else 'null' }} as raw_occurred_at,
        {{ mapped(events, 'occurred_at', 'timestamp') }} as occurred_at,
        {{ mapped(events, 'received_at', 'timestamp') }} as received_at,
        {{ mapped(events, 'account_id') }} as account_id,
        {{ mapped(events, 'user_id') }} as user_id,
        {{ mapped(events, 'event_name') }} as event_name,
        coalesce({{ mapped(events, 'quantity', 'double') }}, 1) as quantity,
        {{ mapped_properties(events) }} as properties

    from extracted

),

{%- if lookup %}

-- Its content, so that a line that was read before is read again when it says something else: {{ lookup.content }}
lookup as ({{ lookup_rows() }}),

looked_up as (

    select
        typed.* replace (lookup.given as {{ lookup.field }}),
        typed.{{ lookup.field }} as raw_{{ lookup.field }}

    from typed
    left join lookup
        on typed.{{ lookup.field }} = lookup.found

),
{%- else %}

looked_up as (select * from typed),
{%- endif %}

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
        {%- set required = [] %}
        {%- for name in ['account_id', 'event_name'] %}
            {%- if lookup and lookup.field == name %}
                {%- do required.append(('raw_' ~ name, lacks(events, name))) %}
                {%- set files = mapped_input('lookup').files | join(' or ') %}
                {%- do required.append((name, 'no ' ~ name ~ ': ' ~ events.fields[name].says ~ ' is not in ' ~ files)) %}
            {%- else %}
                {%- do required.append((name, lacks(events, name))) %}
            {%- endif %}
        {%- endfor %}
        {%- do required.append(('raw_occurred_at', lacks(events, 'occurred_at'))) %}
        {%- do required.append(('occurred_at', is_no_moment(events, 'occurred_at'))) %}
        {{ mapped_problem('line', required) }} as problem

    from looked_up

)

select * from final
