-- grain: one row per account and actor seen in the archive, with an address that reaches nobody
with
contacts as (select * from {{ ref('stg_gharchive__contacts') }}),

-- RFC 2606 keeps example.invalid from ever existing. One actor has one address in all accounts, as people do.
-- Nobody in the archive gave a consent, so none is claimed.
final as (

    select
        account_id,
        user_id,
        substr(sha256('gharchive:' || user_id), 1, 20) || '@example.invalid' as address,
        cast(null as varchar) as given_name,
        cast(null as varchar) as full_name,
        role,
        time_zone,
        locale,
        created_at,
        cast(null as varchar) as consent_basis,
        cast(null as timestamp) as consent_at,
        cast(null as timestamp) as consent_expires_at

    from contacts

)

select * from final
