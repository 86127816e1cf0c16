-- grain: one row per plan that an account has or had and feature it includes
{{ config(materialized='ephemeral') }}

with
accounts as (select * from {{ ref('dim_accounts') }}),

subscriptions as (select * from {{ ref('stg_subscriptions') }}),

features as (select * from {{ ref('dim_features') }}),

feature_plans as (select * from {{ ref('stg_feature_plans') }}),

plans as (

    select plan from accounts
    union distinct
    select plan from subscriptions

),

-- A feature without plans belongs to every plan; the plan `default` has the whole catalogue.
restricted as (

    select distinct feature_key
    from feature_plans

),

final as (

    select
        plans.plan,
        features.feature_key

    from plans
    cross join features
    left join restricted
        on features.feature_key = restricted.feature_key
    left join feature_plans
        on features.feature_key = feature_plans.feature_key and plans.plan = feature_plans.plan
    where
        plans.plan is not null
        and (restricted.feature_key is null or feature_plans.plan is not null or plans.plan = 'default')

)

select * from final
