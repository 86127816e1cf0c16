-- grain: one row per usage event of the active source
with
lines as (select * from {{ ref('stg_event_lines') }}),

duplicates as (select * from {{ ref('stg_event_duplicates') }}),

final as (

    select
        lines.event_id,
        lines.occurred_at,
        lines.received_at,
        lines.account_id,
        lines.user_id,
        lines.event_name,
        lines.quantity,
        lines.properties,
        '{{ active_source() }}' as source

    from lines
    anti join duplicates
        on lines.file = duplicates.file and lines.read_order = duplicates.read_order
    where lines.problem is null

)

select * from final
