-- grain: one row per contact and feature it ever used; no row means never
with
contact_feature_days as (select * from {{ ref('int_contact_feature_days') }}),

features as (select * from {{ ref('dim_features') }}),

as_of as (select * from {{ ref('int_as_of') }}),

use_days as (

    select
        contact_id,
        account_id,
        feature_key,
        date_day,
        {{ use_days_in_window(['contact_id', 'feature_key']) }} as use_days_in_window

    from contact_feature_days
    where contact_id is not null and feature_key is not null

),

used as (

    select
        use_days.contact_id,
        use_days.account_id,
        use_days.feature_key,
        features.adopted_days,
        sum(
            case when {{ in_window(days_ago('use_days.date_day', 'as_of.as_of_day')) }} then 1 else 0 end
        ) as days_used_28,
        min(use_days.date_day) as first_used_on,
        max(use_days.date_day) as last_used_on,
        min(
            case when use_days.use_days_in_window >= features.adopted_days then use_days.date_day end
        ) as first_adopted_on

    from use_days
    cross join as_of
    inner join features
        on use_days.feature_key = features.feature_key
    group by 1, 2, 3, 4

),

final as (

    select
        contact_id,
        account_id,
        feature_key,
        {{ adoption_state('days_used_28', 'adopted_days', 'first_adopted_on', 'last_used_on') }} as adoption_state,
        cast(days_used_28 as bigint) as days_used_28,
        first_used_on,
        last_used_on,
        first_adopted_on

    from used

)

select * from final
