-- grain: one row per account, one per contact and one per feature, used in the last 28 days; '' = not told apart
with
contact_feature_weeks as (select * from {{ ref('int_contact_feature_weeks') }}),

accounts as (select * from {{ ref('dim_accounts') }}),

by_account as (

    select
        account_id,
        {{ median_of('count_uses') }} as median_weekly_uses

    from contact_feature_weeks
    group by account_id

),

by_contact as (

    select
        account_id,
        contact_id,
        sum(count_uses) as count_uses_28

    from contact_feature_weeks
    group by account_id, contact_id

),

-- Customers only: neither who has left nor ourselves.
by_feature as (

    select
        contact_feature_weeks.feature_key,
        {{ median_of('contact_feature_weeks.count_uses') }} as median_weekly_uses

    from contact_feature_weeks
    inner join accounts
        on contact_feature_weeks.account_id = accounts.account_id
    where not accounts.churned and not accounts.is_internal
    group by contact_feature_weeks.feature_key

),

final as (

    select
        account_id,
        '' as contact_id,
        '' as feature_key,
        cast(null as bigint) as count_uses_28,
        cast(median_weekly_uses as double) as median_weekly_uses
    from by_account

    union all

    select
        account_id,
        contact_id,
        '' as feature_key,
        cast(count_uses_28 as bigint) as count_uses_28,
        cast(null as double) as median_weekly_uses
    from by_contact

    union all

    select
        '' as account_id,
        '' as contact_id,
        feature_key,
        cast(null as bigint) as count_uses_28,
        cast(median_weekly_uses as double) as median_weekly_uses
    from by_feature

)

select * from final
