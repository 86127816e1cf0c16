-- "Customers use N % of what they pay for": one query over one mart, entitled features of the customers of today.
-- `share_adopted` is what is a habit, `share_used` what was touched at all in the last 28 days, `share_adopted_by_arr`
-- weighs each customer's own share by what it pays (one currency at a time).
with
accounts as (select * from {{ ref('accounts_current') }}),

final as (

    select
        count(*) as count_accounts,
        cast(sum(count_features_adopted) as double) / nullif(sum(count_features_entitled), 0) as share_adopted,
        cast(sum(count_features_used_28) as double) / nullif(sum(count_features_entitled), 0) as share_used,
        sum(case when adoption_breadth is not null then arr * adoption_breadth end)
        / nullif(sum(case when adoption_breadth is not null then arr end), 0) as share_adopted_by_arr

    from accounts
    where not churned and not is_internal and count_features_entitled > 0

)

select * from final
