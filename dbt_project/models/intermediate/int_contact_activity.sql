-- grain: one row per contact that was ever active
{{ config(materialized='view') }}

with
feature_use as (select * from {{ ref('int_feature_use') }}),

final as (

    select
        account_id,
        contact_id,
        days_used_28 as active_days_28,
        days_used_prev_28 as active_days_prev_28,
        last_used_on as last_active_on

    from feature_use
    where contact_id <> '' and feature_key = ''

)

select * from final
