-- grain: one row per contact with names and address: a view, never materialised; it goes to the ledger only
{{ config(materialized='view') }}

with
people as (select * from {{ staged('people') }}),

final as (

    select
        {{ contact_id('account_id', 'user_id') }} as contact_id,
        account_id,
        address,
        given_name,
        full_name,
        role,
        time_zone,
        locale,
        consent_basis,
        consent_at,
        consent_expires_at

    from people

)

select * from final
