-- grain: one row per usage event of the active source
with
lines as (select * from {{ ref('stg_event_lines') }}),

final as (

    select
        event_id,
        occurred_at,
        received_at,
        account_id,
        user_id,
        event_name,
        quantity,
        properties,
        '{{ active_source() }}' as source,
        date_day

    from lines
    where not is_duplicate

)

select * from final
