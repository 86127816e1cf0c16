-- grain: one row per contact: one user in one account, by pseudonym; names and addresses are elsewhere
with
contacts as (select * from {{ ref('int_contacts') }}),

final as (

    select
        contact_id,
        account_id,
        role,
        time_zone,
        locale,
        created_at

    from contacts

)

select * from final
