-- An account on a plan that no feature names is entitled to nothing, which is a typing error more often than true.
{{ config(severity='warn') }}

select accounts.account_id, accounts.plan
from {{ ref('dim_accounts') }} as accounts
left join (select distinct plan from {{ ref('stg_feature_plans') }}) as plans
    on accounts.plan = plans.plan
where
    plans.plan is null
    and accounts.plan <> 'default'
    and exists (select 1 from {{ ref('stg_feature_plans') }})
