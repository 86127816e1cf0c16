-- A plan that no account is or was on entitles nobody: a typing error in the catalogue, or a plan not sold any more.
{{ config(severity='warn') }}

with
feature_plans as (select * from {{ ref('stg_feature_plans') }}),

accounts as (select * from {{ ref('dim_accounts') }}),

subscriptions as (select * from {{ ref('stg_subscriptions') }}),

sold as (

    select plan from accounts
    union distinct
    select plan from subscriptions

),

-- Without any plan in the data there is nothing to compare with.
told as (

    select max(case when plan <> 'default' then 1 end) as is_told
    from sold

),

final as (

    select distinct feature_plans.plan

    from feature_plans
    left join sold
        on feature_plans.plan = sold.plan
    where
        sold.plan is null
        and (select max(told.is_told) from told) = 1

)

select * from final
where {{ 'false' if is_sample() else 'true' }}
