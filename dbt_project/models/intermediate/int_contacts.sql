-- grain: one row per account and user, described by the source or seen in events
with
described as (select * from {{ ref('stg_contacts') }}),

events as (select * from {{ ref('stg_usage_events') }}),

users as (

    select
        account_id,
        user_id

    from described

    union distinct

    select
        account_id,
        user_id

    from events
    where user_id is not null

),

final as (

    select
        {{ contact_id('users.account_id', 'users.user_id') }} as contact_id,
        users.account_id,
        users.user_id,
        described.role,
        described.time_zone,
        described.locale,
        described.created_at

    from users
    left join described
        on users.account_id = described.account_id and users.user_id = described.user_id

)

select * from final
