-- grain: one row per pair of features that enough accounts use together: who has the one, how much likelier the other
with
account_features as (select * from {{ ref('account_features') }}),

accounts as (select * from {{ ref('dim_accounts') }}),

-- Customers only, and only what they paid for. Within a plan all accounts are entitled to the same.
entitled as (

    select
        account_features.account_id,
        accounts.plan,
        account_features.feature_key,
        account_features.days_used_28 > 0 as is_used

    from account_features
    inner join accounts
        on account_features.account_id = accounts.account_id
    where account_features.is_entitled and not accounts.churned and not accounts.is_internal

),

plan_features as (

    select
        plan,
        feature_key,
        count(*) as count_accounts,
        sum(case when is_used then 1 else 0 end) as count_using

    from entitled
    group by plan, feature_key

),

-- Among accounts entitled to both: else what a large plan includes would seem to go together.
chances as (

    select
        had.feature_key as has_feature_key,
        candidates.feature_key,
        sum(had.count_using) as count_has,
        {{ ratio('sum(candidates.count_using)', 'sum(candidates.count_accounts)') }} as share

    from plan_features as had
    inner join plan_features as candidates
        on had.plan = candidates.plan and had.feature_key <> candidates.feature_key
    group by had.feature_key, candidates.feature_key

),

together as (

    select
        had.feature_key as has_feature_key,
        candidates.feature_key,
        count(*) as count_both

    from entitled as had
    inner join entitled as candidates
        on
            had.account_id = candidates.account_id
            and had.feature_key <> candidates.feature_key
            and had.is_used
            and candidates.is_used
    group by had.feature_key, candidates.feature_key
    having count(*) >= {{ var('rule_min_accounts') }}

),

final as (

    select
        together.has_feature_key,
        together.feature_key,
        together.count_both,
        chances.count_has,
        {{ shrunk_lift('together.count_both', 'chances.count_has', 'chances.share') }} as lift

    from together
    inner join chances
        on
            together.has_feature_key = chances.has_feature_key
            and together.feature_key = chances.feature_key

)

select * from final
