-- grain: one row per account, feature and day with use, up to as_of
with
contact_feature_days as (select * from {{ ref('int_contact_feature_days') }}),

final as (

    select
        account_id,
        feature_key,
        date_day,
        cast(sum(count_events) as bigint) as count_events,
        count(contact_id) as count_contacts,
        sum(sum_quantity) as sum_quantity

    from contact_feature_days
    where feature_key is not null
    group by account_id, feature_key, date_day
    order by date_day, account_id, feature_key

)

select * from final
