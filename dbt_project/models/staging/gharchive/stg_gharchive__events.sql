-- grain: one row per line of the archive that is not blank, readable or not
with
lines as ({{ raw_lines('gharchive', 'events') }}),

extracted as (

    select
        file,
        line,
        read_order,
        {{ fields('line', [
            'id', 'created_at', 'org.login', 'repo.name', 'actor.login', 'type', 'payload.action'
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
        {{ unchecked_timestamp('fields[2]') }} as occurred_at,
        coalesce({{ text_or_null('fields[3]') }}, {{ text_or_null("split_part(fields[4], '/', 1)") }}) as account_id,
        {{ text_or_null('fields[5]') }} as user_id,
        {{ text_or_null('fields[6]') }} || coalesce('.' || {{ text_or_null('fields[7]') }}, '') as event_name

    from extracted

),

-- The payload stays behind: it holds whole commits, with the addresses of their authors.
final as (

    select
        file,
        line,
        read_order,
        true as is_usage,
        event_id,
        occurred_at,
        cast(null as timestamp) as received_at,
        account_id,
        user_id,
        event_name,
        cast(1 as double) as quantity,
        cast(null as varchar) as properties,
        {{ problem_of('line', [
            ('account_id', 'no org.login and no repo.name'),
            ('event_name', 'no type'),
            ('raw_occurred_at', 'no created_at'),
            (in_calendar('occurred_at'), 'created_at is not an ISO 8601 time'),
        ]) }} as problem

    from typed

)

select * from final
