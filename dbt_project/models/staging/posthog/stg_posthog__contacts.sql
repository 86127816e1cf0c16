-- grain: one row per account and user
with
people as (select * from {{ ref('stg_posthog__people') }}),

final as (

    select
        account_id,
        user_id,
        role,
        time_zone,
        locale,
        created_at

    from people

)

select * from final
