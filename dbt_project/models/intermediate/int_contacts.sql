-- grain: one row per account and user, described by the source or seen in events up to as_of
with
described as (select * from {{ ref('stg_contacts') }}),

feature_use as (select * from {{ ref('int_feature_use') }}),

seen as (

    select
        account_id,
        user_id,
        contact_id

    from feature_use
    where contact_id <> '' and feature_key = ''

),

final as (

    select
        -- The id of who was seen is known already, and a hash with a key costs more than everything else here.
        coalesce(seen.contact_id, {{ contact_id('described.account_id', 'described.user_id') }}) as contact_id,
        coalesce(seen.account_id, described.account_id) as account_id,
        coalesce(seen.user_id, described.user_id) as user_id,
        described.role,
        described.time_zone,
        described.locale,
        described.created_at

    from seen
    full outer join described
        on seen.account_id = described.account_id and seen.user_id = described.user_id

)

select * from final
