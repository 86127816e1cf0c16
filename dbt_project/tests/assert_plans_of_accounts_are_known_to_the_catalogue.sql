-- An account on a plan that no feature names is entitled to nothing, which is a typing error more often than true.
{{ config(severity='warn') }}

with
accounts as (select * from {{ ref('dim_accounts') }}),

plans as (

    select distinct plan
    from {{ ref('stg_feature_plans') }}

),

named as (select count(*) as count_plans from plans),

final as (

    select
        accounts.account_id,
        accounts.plan

    from accounts
    left join plans
        on accounts.plan = plans.plan
    cross join named
    where
        plans.plan is null
        and accounts.plan <> 'default'
        and named.count_plans > 0

)

select * from final
