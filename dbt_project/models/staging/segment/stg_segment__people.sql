-- grain: one row per account and user, with the address: a view, never materialised
with
traits as (select * from {{ ref('stg_segment__traits') }}),

events as (select * from {{ ref('stg_event_lines') }}),

-- Who belongs to an account is told by group calls, and by whatever is done in its name.
members as (

    select
        account_id,
        user_id

    from traits
    where account_id is not null and user_id is not null

    union distinct

    select
        account_id,
        user_id

    from events
    where problem is null and user_id is not null

),

-- A call tells some traits; of each trait the last word counts.
users as (

    select
        user_id,
        {{ last_word('address', 'called_at, line') }} as address,
        {{ last_word('given_name', 'called_at, line') }} as given_name,
        {{ last_word('full_name', 'called_at, line') }} as full_name,
        {{ last_word('role', 'called_at, line') }} as role,
        {{ last_word('time_zone', 'called_at, line') }} as time_zone,
        {{ last_word('locale', 'called_at, line') }} as locale,
        {{ last_word('created_at', 'called_at, line') }} as created_at

    from traits
    where call_type = 'identify' and user_id is not null
    group by user_id

),

-- Segment knows no basis to mail somebody on, so none is claimed.
final as (

    select
        members.account_id,
        members.user_id,
        users.address,
        users.given_name,
        users.full_name,
        users.role,
        users.time_zone,
        users.locale,
        users.created_at,
        cast(null as varchar) as consent_basis,
        cast(null as timestamp) as consent_at

    from members
    left join users
        on members.user_id = users.user_id

)

select * from final
