-- grain: one row per account and user that the active source describes
{{ config(materialized='table') }}

with
contacts as (select * from {{ staged('contacts') }}),

final as (

    select
        account_id,
        user_id,
        role,
        time_zone,
        locale,
        created_at

    from contacts

)

select * from final
