-- grain: one row per contact, as of the snapshot
with
contacts as (select * from {{ ref('dim_contacts') }}),

activity as (select * from {{ ref('int_contact_activity') }}),

contact_features as (select * from {{ ref('contact_features') }}),

as_of as (select * from {{ ref('int_as_of') }}),

features_used as (

    select
        contact_id,
        sum(case when days_used_28 > 0 then 1 else 0 end) as count_features_used_28,
        sum(case when adoption_state = 'adopted' then 1 else 0 end) as count_features_adopted

    from contact_features
    group by contact_id

),

final as (

    select
        contacts.contact_id,
        contacts.account_id,
        contacts.role,
        contacts.time_zone,
        contacts.locale,
        {{ days_ago('contacts.created_at', 'as_of.as_of_day') }} as age_days,
        cast(coalesce(activity.active_days_28, 0) as bigint) as active_days_28,
        cast(coalesce(features_used.count_features_used_28, 0) as bigint) as count_features_used_28,
        cast(coalesce(features_used.count_features_adopted, 0) as bigint) as count_features_adopted,
        {{ days_ago('activity.last_active_on', 'as_of.as_of_day') }} as days_since_last_use

    from contacts
    cross join as_of
    left join activity
        on contacts.contact_id = activity.contact_id
    left join features_used
        on contacts.contact_id = features_used.contact_id

)

select * from final
