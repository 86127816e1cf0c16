-- grain: one row per support ticket
with
lines as ({{ raw_lines('uptake', 'tickets') }}),

extracted as (

    select distinct
        cast(line as varchar) as line,
        {{ fields('line', [
            'ticket_id', 'account_id', 'user_id', 'opened_at', 'closed_at', 'severity', 'cause', 'is_escalation'
        ]) }} as fields

    from lines

),

typed as (

    select
        line,
        {{ text_or_null('fields[1]') }} as ticket_id,
        {{ text_or_null('fields[2]') }} as account_id,
        {{ text_or_null('fields[3]') }} as user_id,
        {{ timestamp_or_null('fields[4]') }} as opened_at,
        {{ timestamp_or_null('fields[5]') }} as closed_at,
        {{ text_or_null('fields[6]') }} as severity,
        {{ text_or_null('fields[7]') }} as cause,
        try_cast(fields[8] as boolean) as is_escalation

    from extracted

),

-- A ticket told twice, open and closed, is closed.
final as (

    select
        ticket_id,
        account_id,
        user_id,
        opened_at,
        closed_at,
        severity,
        cause,
        is_escalation

    from typed
    where ticket_id is not null and account_id is not null
    qualify row_number() over (partition by ticket_id order by closed_at desc nulls last, line desc) = 1

)

select * from final
