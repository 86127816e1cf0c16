-- grain: one row per account, feature and day with use, up to as_of
{{ config(materialized='by_day', days_of='int_contact_feature_days') }}

with
contact_feature_days as (select * from {{ ref('int_contact_feature_days') }}),

changed_days as (select date_day from {{ changed_days(ref('int_contact_feature_days')) }}),

final as (

    select
        contact_feature_days.account_id,
        contact_feature_days.feature_key,
        contact_feature_days.date_day,
        cast(sum(contact_feature_days.count_events) as bigint) as count_events,
        count(contact_feature_days.contact_id) as count_contacts,
        cast(sum(contact_feature_days.sum_quantity) as double) as sum_quantity

    from contact_feature_days
    inner join changed_days
        on contact_feature_days.date_day = changed_days.date_day
    where contact_feature_days.feature_key is not null
    group by 1, 2, 3
    order by 3, 1, 2

)

select * from final
