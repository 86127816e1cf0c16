-- grain: one row per account that the active source describes
{{ config(materialized='table') }}

with
accounts as (select * from {{ staged('accounts') }}),

final as (

    select
        account_id,
        plan,
        created_at,
        arr,
        currency,
        seats,
        region,
        time_zone,
        locale,
        csm,
        renewal_on,
        churned_on,
        is_internal

    from accounts

)

select * from final
