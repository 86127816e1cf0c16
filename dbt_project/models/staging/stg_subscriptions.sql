-- grain: one row per subscription
{{ config(materialized='table') }}

with
subscriptions as (select * from {{ staged('subscriptions') }}),

final as (

    select
        subscription_id,
        account_id,
        plan,
        seats,
        arr,
        started_on,
        ended_on

    from subscriptions

)

select * from final
