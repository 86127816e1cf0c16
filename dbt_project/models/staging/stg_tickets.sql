-- grain: one row per support ticket
{{ config(materialized='table') }}

with
tickets as (select * from {{ staged('tickets') }}),

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

    from tickets

)

select * from final
