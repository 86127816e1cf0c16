-- A day after as_of would change the past when it comes again.
select
    daily.account_id,
    daily.feature_key,
    daily.date_day
from {{ ref('fct_account_feature_daily') }} as daily
cross join {{ ref('int_as_of') }} as as_of
where daily.date_day > as_of.as_of_day
