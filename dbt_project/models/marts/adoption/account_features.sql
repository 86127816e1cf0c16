-- grain: one row per account and feature that is entitled or was ever used
with
accounts as (select * from {{ ref('dim_accounts') }}),

features as (select * from {{ ref('dim_features') }}),

feature_plans as (select * from {{ ref('stg_feature_plans') }}),

feature_use as (select * from {{ ref('int_feature_use') }}),

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

used as (

    select
        account_id,
        feature_key,
        days_used_28,
        days_used_prev_28,
        first_used_on,
        last_used_on,
        first_adopted_on

    from feature_use
    where contact_id = '' and feature_key <> ''

),

reach as (

    select
        account_id,
        feature_key,
        count(*) as count_contacts_28

    from feature_use
    where contact_id <> '' and feature_key <> '' and days_used_28 > 0
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
