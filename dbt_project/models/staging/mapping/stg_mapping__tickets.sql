-- grain: one row per support ticket
{%- set tickets = mapped_input('tickets') %}
with
lines as ({{ raw_lines('mapping', 'tickets') }}),

extracted as (

    select distinct
        cast(line as varchar) as line,
        {{ mapped_fields(tickets) }} as fields

    from lines

),

typed as (

    select
        line,
        {{ mapped_latest(tickets) }} as latest,
        {{ mapped(tickets, 'ticket_id') }} as ticket_id,
        {{ mapped(tickets, 'account_id') }} as account_id,
        {{ mapped(tickets, 'user_id') }} as user_id,
        {{ mapped(tickets, 'opened_at', 'timestamp') }} as opened_at,
        {{ mapped(tickets, 'closed_at', 'timestamp') }} as closed_at,
        {{ mapped(tickets, 'severity') }} as severity,
        {{ mapped(tickets, 'cause') }} as cause,
        {{ mapped(tickets, 'is_escalation', 'boolean') }} as is_escalation

    from extracted

),

-- What is described twice keeps one description, the same one in whatever order the lines come.
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
    qualify
        row_number() over (
            partition by ticket_id order by latest desc nulls last, closed_at desc nulls last, line desc
        ) = 1

)

select * from final
