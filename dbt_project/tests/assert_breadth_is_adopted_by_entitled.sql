-- accounts_current and account_features tell one story.
with
counted as (

    select
        account_id,
        count(*) as count_features_entitled,
        sum(case when adoption_state = 'adopted' then 1 else 0 end) as count_features_adopted
    from {{ ref('account_features') }}
    where is_entitled
    group by account_id

)

select accounts.account_id
from {{ ref('accounts_current') }} as accounts
inner join counted on accounts.account_id = counted.account_id
where
    accounts.count_features_entitled <> counted.count_features_entitled
    or accounts.count_features_adopted <> counted.count_features_adopted
