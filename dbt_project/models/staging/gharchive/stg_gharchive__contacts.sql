-- grain: one row per account and actor seen in the archive
with
events as (select * from {{ ref('stg_event_lines') }}),

final as (

    select distinct
        account_id,
        user_id,
        cast(null as varchar) as role,
        cast(null as varchar) as time_zone,
        cast(null as varchar) as locale,
        cast(null as timestamp) as created_at

    from events
    where problem is null and user_id is not null

)

select * from final
