-- grain: one row per account, as of the snapshot
with
accounts as (select * from {{ ref('dim_accounts') }}),

account_features as (select * from {{ ref('account_features') }}),

contacts as (select * from {{ ref('dim_contacts') }}),

activity as (select * from {{ ref('int_contact_activity') }}),

contact_feature_days as (select * from {{ ref('int_contact_feature_days') }}),

tickets as (select * from {{ ref('stg_tickets') }}),

as_of as (select * from {{ ref('int_as_of') }}),

open_tickets as (

    select
        tickets.account_id,
        count(*) as count_open_tickets

    from tickets
    inner join as_of
        on
            tickets.opened_at <= as_of.as_of
            and (tickets.closed_at is null or tickets.closed_at > as_of.as_of)
    group by tickets.account_id

),

people as (

    select
        account_id,
        count(*) as count_contacts

    from contacts
    group by account_id

),

active as (

    select
        account_id,
        sum(case when active_days_28 > 0 then 1 else 0 end) as count_active_contacts_28,
        sum(case when active_days_28 >= {{ var('healthy_active_days') }} then 1 else 0 end) as count_healthy_contacts,
        sum(active_days_28) as sum_active_days_28,
        sum(active_days_prev_28) as sum_active_days_prev_28

    from activity
    group by account_id

),

breadth as (

    select
        account_id,
        count(*) as count_features_entitled,
        sum(case when adoption_state = 'adopted' then 1 else 0 end) as count_features_adopted

    from account_features
    where is_entitled
    group by account_id

),

-- Unattributed use counts here: somebody in the account was there.
last_use as (

    select
        account_id,
        max(date_day) as last_used_on

    from contact_feature_days
    group by account_id

),

measured as (

    select
        accounts.account_id,
        accounts.plan,
        accounts.region,
        accounts.arr,
        accounts.currency,
        accounts.seats,
        accounts.csm,
        {{ days_ago('accounts.created_at', 'as_of.as_of_day') }} as age_days,
        accounts.renewal_on,
        {{ days_ago('as_of.as_of_day', 'accounts.renewal_on') }} as days_to_renewal,
        accounts.churned,
        accounts.is_internal,
        coalesce(open_tickets.count_open_tickets, 0) as count_open_tickets,
        coalesce(people.count_contacts, 0) as count_contacts,
        coalesce(active.count_active_contacts_28, 0) as count_active_contacts_28,
        {{ ratio('coalesce(active.count_active_contacts_28, 0)', 'accounts.seats') }} as seats_used_share,
        coalesce(breadth.count_features_entitled, 0) as count_features_entitled,
        coalesce(breadth.count_features_adopted, 0) as count_features_adopted,
        {{ ratio('breadth.count_features_adopted', 'breadth.count_features_entitled') }} as adoption_breadth,
        {{ ratio('coalesce(active.count_healthy_contacts, 0)', 'accounts.seats') }} as adoption_depth,
        {{ ratio('active.sum_active_days_28', var('window_days') ~ ' * active.count_active_contacts_28') }}
            as stickiness,
        {{ ratio('active.sum_active_days_28 - active.sum_active_days_prev_28', 'active.sum_active_days_prev_28') }}
            as usage_trend,
        {{ days_ago('last_use.last_used_on', 'as_of.as_of_day') }} as days_since_last_use

    from accounts
    cross join as_of
    left join open_tickets
        on accounts.account_id = open_tickets.account_id
    left join people
        on accounts.account_id = people.account_id
    left join active
        on accounts.account_id = active.account_id
    left join breadth
        on accounts.account_id = breadth.account_id
    left join last_use
        on accounts.account_id = last_use.account_id

),

-- Each component from 0 (bad) to 1 (good), NULL where it is not known.
components as (

    select
        *,
        adoption_breadth as health_breadth,
        {{ clamp('seats_used_share', 0, 1) }} as health_seats,
        -- Steady use is 0.5, doubled or more is 1, vanished is 0.
        {{ clamp('(usage_trend + 1) / 2', 0, 1) }} as health_trend,
        -- Used today is 1; a whole window ago, or longer, is 0.
        {{ clamp('1 - cast(days_since_last_use as double) / ' ~ var('window_days'), 0, 1) }} as health_recency

    from measured

),

weighed as (

    select
        *,
        case when health_breadth is not null then {{ var('health_weight_breadth') }} else 0 end
        + case when health_seats is not null then {{ var('health_weight_seats') }} else 0 end
        + case when health_trend is not null then {{ var('health_weight_trend') }} else 0 end
        + case when health_recency is not null then {{ var('health_weight_recency') }} else 0 end
            as weight_known,
        coalesce({{ var('health_weight_breadth') }} * health_breadth, 0)
        + coalesce({{ var('health_weight_seats') }} * health_seats, 0)
        + coalesce({{ var('health_weight_trend') }} * health_trend, 0)
        + coalesce({{ var('health_weight_recency') }} * health_recency, 0)
            as weighted_sum,
        {{ var('health_weight_breadth') }} + {{ var('health_weight_seats') }} + {{ var('health_weight_trend') }}
        + {{ var('health_weight_recency') }} as weight_total

    from components

),

final as (

    select
        account_id,
        plan,
        region,
        arr,
        currency,
        seats,
        csm,
        age_days,
        renewal_on,
        days_to_renewal,
        churned,
        is_internal,
        count_open_tickets,
        count_contacts,
        cast(count_active_contacts_28 as bigint) as count_active_contacts_28,
        seats_used_share,
        count_features_entitled,
        cast(count_features_adopted as bigint) as count_features_adopted,
        adoption_breadth,
        adoption_depth,
        stickiness,
        usage_trend,
        days_since_last_use,
        {{ ratio('weighted_sum', 'weight_known') }} as health,
        {{ ratio('weight_known', 'weight_total') }} as health_coverage,
        concat_ws(
            '; ',
            'uses ' || count_features_adopted || ' of ' || count_features_entitled || ' features in its plan',
            count_active_contacts_28 || ' of ' || seats || ' seats active',
            case
                when usage_trend >= 0.1 then 'use grew by ' || cast(round(100 * usage_trend) as bigint) || ' %'
                when usage_trend <= -0.1 then 'use fell by ' || cast(round(-100 * usage_trend) as bigint) || ' %'
                when usage_trend is not null then 'use is steady'
            end,
            case
                when days_since_last_use = 0 then 'used today'
                when days_since_last_use is not null then 'last used ' || days_since_last_use || ' days ago'
            end
        ) as health_drivers

    from weighed

)

select * from final
