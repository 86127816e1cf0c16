-- grain: one row per account and feature that is entitled or was ever used
with
accounts as (select * from {{ ref('dim_accounts') }}),

features as (select * from {{ ref('dim_features') }}),

feature_plans as (select * from {{ ref('stg_feature_plans') }}),

daily as (select * from {{ ref('fct_account_feature_daily') }}),

contact_features as (select * from {{ ref('contact_features') }}),

as_of as (select * from {{ ref('int_as_of') }}),

-- A feature without plans belongs to every plan; the plan `default` has the whole catalogue.
restricted as (

    select distinct feature_key
    from feature_plans

),

entitled as (

    select
        accounts.account_id,
        features.feature_key

    from accounts
    cross join features
    left join restricted
        on features.feature_key = restricted.feature_key
    left join feature_plans
        on features.feature_key = feature_plans.feature_key and accounts.plan = feature_plans.plan
    where restricted.feature_key is null or feature_plans.plan is not null or accounts.plan = 'default'

),

use_days as (

    select
        account_id,
        feature_key,
        date_day,
        {{ use_days_in_window(['account_id', 'feature_key']) }} as use_days_in_window

    from daily

),

used as (

    select
        use_days.account_id,
        use_days.feature_key,
        sum(
            case when {{ in_window(days_ago('use_days.date_day', 'as_of.as_of_day')) }} then 1 else 0 end
        ) as days_used_28,
        sum(
            case when {{ in_previous_window(days_ago('use_days.date_day', 'as_of.as_of_day')) }} then 1 else 0 end
        ) as days_used_prev_28,
        min(use_days.date_day) as first_used_on,
        max(use_days.date_day) as last_used_on,
        min(
            case when use_days.use_days_in_window >= features.adopted_days then use_days.date_day end
        ) as first_adopted_on

    from use_days
    cross join as_of
    inner join features
        on use_days.feature_key = features.feature_key
    group by 1, 2

),

reach as (

    select
        account_id,
        feature_key,
        count(*) as count_contacts_28

    from contact_features
    where days_used_28 > 0
    group by 1, 2

),

pairs as (

    select
        account_id,
        feature_key
    from entitled

    union distinct

    select
        account_id,
        feature_key
    from used

),

final as (

    select
        pairs.account_id,
        pairs.feature_key,
        entitled.feature_key is not null as is_entitled,
        {{ adoption_state(
            'used.days_used_28', 'features.adopted_days', 'used.first_adopted_on', 'used.last_used_on'
        ) }} as adoption_state,
        cast(coalesce(used.days_used_28, 0) as bigint) as days_used_28,
        cast(coalesce(used.days_used_prev_28, 0) as bigint) as days_used_prev_28,
        coalesce(reach.count_contacts_28, 0) as count_contacts_28,
        used.first_used_on,
        used.last_used_on,
        used.first_adopted_on

    from pairs
    inner join features
        on pairs.feature_key = features.feature_key
    left join entitled
        on pairs.account_id = entitled.account_id and pairs.feature_key = entitled.feature_key
    left join used
        on pairs.account_id = used.account_id and pairs.feature_key = used.feature_key
    left join reach
        on pairs.account_id = reach.account_id and pairs.feature_key = reach.feature_key

)

select * from final
