-- grain: one row per contact, as of the snapshot
with
contacts as (select * from {{ ref('dim_contacts') }}),

accounts as (select * from {{ ref('dim_accounts') }}),

activity as (select * from {{ ref('int_contact_activity') }}),

use_frequency as (select * from {{ ref('int_use_frequency') }}),

contact_features as (select * from {{ ref('contact_features') }}),

friction as (select * from {{ ref('int_contact_friction') }}),

friction_patterns as (select * from {{ ref('stg_friction_patterns') }}),

as_of as (select * from {{ ref('int_as_of') }}),

features_used as (

    select
        contact_id,
        sum(case when days_used_28 > 0 then 1 else 0 end) as count_features_used_28,
        sum(case when adoption_state = 'adopted' then 1 else 0 end) as count_features_adopted

    from contact_features
    group by contact_id

),

uses as (

    select
        contact_id,
        count_uses_28

    from use_frequency
    where contact_id <> ''

),

-- Ourselves left out: we use the product more than anybody.
ranked as (

    select
        activity.contact_id,
        activity.active_days_28,
        rank() over (order by coalesce(uses.count_uses_28, 0) desc) as use_rank,
        count(*) over () as count_active

    from activity
    inner join accounts
        on activity.account_id = accounts.account_id
    left join uses
        on activity.contact_id = uses.contact_id
    where activity.active_days_28 > 0 and not accounts.is_internal

),

power_users as (

    select contact_id
    from ranked
    where
        use_rank <= ceil({{ var('power_user_share') }} * count_active)
        and active_days_28 >= {{ var('healthy_active_days') }}

),

known as (

    {{ known_friction('friction_patterns') }}

),

final as (

    select
        contacts.contact_id,
        contacts.account_id,
        contacts.role,
        contacts.time_zone,
        contacts.locale,
        {{ age_in_days('contacts.created_at', 'as_of.as_of_day') }} as age_days,
        cast(coalesce(activity.active_days_28, 0) as bigint) as active_days_28,
        cast(coalesce(features_used.count_features_used_28, 0) as bigint) as count_features_used_28,
        cast(coalesce(features_used.count_features_adopted, 0) as bigint) as count_features_adopted,
        {{ days_ago('activity.last_active_on', 'as_of.as_of_day') }} as days_since_last_use,
        cast(coalesce(activity.active_days_prev_28, 0) as bigint) as active_days_prev_28,
        cast(coalesce(uses.count_uses_28, 0) as bigint) as count_uses_28,
        power_users.contact_id is not null as is_power_user,
        {{ friction_columns('friction', 'known') }}

    from contacts
    cross join as_of
    cross join known
    left join activity
        on contacts.contact_id = activity.contact_id
    left join uses
        on contacts.contact_id = uses.contact_id
    left join features_used
        on contacts.contact_id = features_used.contact_id
    left join power_users
        on contacts.contact_id = power_users.contact_id
    left join friction
        on contacts.contact_id = friction.contact_id

)

select * from final
