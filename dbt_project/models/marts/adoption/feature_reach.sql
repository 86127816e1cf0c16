-- grain: one row per feature: who among the customers could use it and who does, as of the snapshot
with
features as (select * from {{ ref('dim_features') }}),

account_features as (select * from {{ ref('account_features') }}),

accounts as (select * from {{ ref('accounts_current') }}),

daily as (select * from {{ ref('fct_account_feature_daily') }}),

use_frequency as (select * from {{ ref('int_use_frequency') }}),

as_of as (select * from {{ ref('int_as_of') }}),

-- Customers only: neither who has left nor ourselves.
customers as (

    select
        account_id,
        count_active_contacts_28

    from accounts
    where not churned and not is_internal

),

-- Use beyond the plan is left out: it would be counted against nobody.
reached as (

    select
        account_features.feature_key,
        count(*) as count_accounts_entitled,
        sum(case when account_features.days_used_28 > 0 then 1 else 0 end) as count_accounts_used_28,
        sum(case when account_features.adoption_state = 'adopted' then 1 else 0 end) as count_accounts_adopted,
        sum(customers.count_active_contacts_28) as count_contacts_entitled_28,
        sum(account_features.count_contacts_28) as count_contacts_used_28

    from account_features
    inner join customers
        on account_features.account_id = customers.account_id
    where account_features.is_entitled
    group by account_features.feature_key

),

uses as (

    select
        daily.feature_key,
        sum(daily.count_events) as count_uses_28

    from daily
    inner join customers
        on daily.account_id = customers.account_id
    where
        daily.date_day >= (
            select cast({{ first_day_of_window('as_of.as_of_day') }} as date)
            from as_of
        )
    group by daily.feature_key

),

frequency as (

    select
        feature_key,
        median_weekly_uses

    from use_frequency
    where feature_key <> ''

),

final as (

    select
        features.feature_key,
        cast(coalesce(reached.count_accounts_entitled, 0) as bigint) as count_accounts_entitled,
        cast(coalesce(reached.count_accounts_used_28, 0) as bigint) as count_accounts_used_28,
        cast(coalesce(reached.count_accounts_adopted, 0) as bigint) as count_accounts_adopted,
        {{ ratio('reached.count_accounts_used_28', 'reached.count_accounts_entitled') }} as account_reach,
        {{ ratio('reached.count_accounts_adopted', 'reached.count_accounts_entitled') }} as account_adoption,
        cast(coalesce(reached.count_contacts_entitled_28, 0) as bigint) as count_contacts_entitled_28,
        cast(coalesce(reached.count_contacts_used_28, 0) as bigint) as count_contacts_used_28,
        {{ ratio('reached.count_contacts_used_28', 'reached.count_contacts_entitled_28') }} as contact_reach,
        cast(coalesce(uses.count_uses_28, 0) as bigint) as count_uses_28,
        {{ ratio('coalesce(uses.count_uses_28, 0)', 'sum(uses.count_uses_28) over ()') }} as use_share_28,
        frequency.median_weekly_uses

    from features
    left join reached
        on features.feature_key = reached.feature_key
    left join uses
        on features.feature_key = uses.feature_key
    left join frequency
        on features.feature_key = frequency.feature_key

)

select * from final
