-- grain: one row per account, contact ('' = anybody in the account) and feature ('' = whatever event), ever used
{{ config(materialized='view') }}

with
kept as (select * from {{ ref('int_feature_use_kept') }}),

as_of as (select * from {{ ref('int_as_of') }}),

-- What was not used since its windows were counted has the same days still, a few days longer ago.
moved as (

    select
        kept.account_id,
        kept.contact_id,
        kept.feature_key,
        kept.user_id,
        kept.first_used_on,
        kept.last_used_on,
        kept.first_adopted_on,
        {{ older_day_bits(
            'kept.day_bits', days_ago('kept.windows_end_on', 'as_of.as_of_day'), 2 * var('window_days')
        ) }} as day_bits

    from kept
    cross join as_of

),

final as (

    select
        account_id,
        contact_id,
        feature_key,
        user_id,
        first_used_on,
        last_used_on,
        first_adopted_on,
        {{ days_in_window('day_bits') }} as days_used_28,
        {{ days_in_previous_window('day_bits') }} as days_used_prev_28

    from moved

)

select * from final
