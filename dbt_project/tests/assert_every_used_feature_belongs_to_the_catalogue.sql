-- Of the many rows of use the few names are compared.
with
daily as (

    select distinct feature_key
    from {{ ref('fct_account_feature_daily') }}

),

features as (select * from {{ ref('dim_features') }}),

final as (

    select daily.feature_key

    from daily
    left join features
        on daily.feature_key = features.feature_key
    where features.feature_key is null

)

select * from final
