-- grain: one row per contact that was ever active
with
contact_feature_days as (select * from {{ ref('int_contact_feature_days') }}),

as_of as (select * from {{ ref('int_as_of') }}),

contact_days as (

    select
        contact_feature_days.account_id,
        contact_feature_days.contact_id,
        contact_feature_days.date_day,
        {{ days_ago('contact_feature_days.date_day', 'as_of.as_of_day') }} as age

    from contact_feature_days
    cross join as_of
    where contact_feature_days.contact_id is not null
    group by 1, 2, 3, 4

),

final as (

    select
        account_id,
        contact_id,
        sum(case when {{ in_window('age') }} then 1 else 0 end) as active_days_28,
        sum(case when {{ in_previous_window('age') }} then 1 else 0 end) as active_days_prev_28,
        max(date_day) as last_active_on

    from contact_days
    group by 1, 2

)

select * from final
