-- grain: one row per account, as of the snapshot
with
accounts as (select * from {{ ref('dim_accounts') }}),

account_features as (select * from {{ ref('account_features') }}),

contacts as (select * from {{ ref('contacts_current') }}),

feature_use as (select * from {{ ref('int_feature_use') }}),

use_frequency as (select * from {{ ref('int_use_frequency') }}),

daily as (select * from {{ ref('fct_account_feature_daily') }}),

friction_by_contact as (select * from {{ ref('int_contact_friction') }}),

friction_patterns as (select * from {{ ref('stg_friction_patterns') }}),

subscriptions as (select * from {{ ref('stg_subscriptions') }}),

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
        count(*) as count_contacts,
        sum(case when active_days_28 > 0 then 1 else 0 end) as count_active_contacts_28,
        sum(case when {{ in_last_week('days_since_last_use') }} then 1 else 0 end) as count_active_contacts_7,
        sum(case when active_days_28 >= {{ var('healthy_active_days') }} then 1 else 0 end) as count_healthy_contacts,
        sum(active_days_28) as sum_active_days_28,
        sum(active_days_prev_28) as sum_active_days_prev_28,
        sum(case when is_power_user then 1 else 0 end) as count_power_users,
        {{ ratio('max(count_uses_28)', 'sum(count_uses_28)') }} as top_user_share

    from contacts
    group by account_id

),

breadth as (

    select
        account_id,
        sum(case when is_entitled then 1 else 0 end) as count_features_entitled,
        sum(case when is_entitled and days_used_28 > 0 then 1 else 0 end) as count_features_used_28,
        sum(case when is_entitled and adoption_state = 'adopted' then 1 else 0 end) as count_features_adopted,
        min(first_adopted_on) as first_adopted_on

    from account_features
    group by account_id

),

uses as (

    select
        daily.account_id,
        sum(daily.count_events) as count_uses_28

    from daily
    where
        daily.date_day >= (
            select cast({{ first_day_of_window('as_of.as_of_day') }} as date)
            from as_of
        )
    group by daily.account_id

),

frequency as (

    select
        account_id,
        median_weekly_uses

    from use_frequency
    where account_id <> '' and contact_id = ''

),

-- Unattributed use counts here: somebody in the account was there.
presence as (

    select
        account_id,
        first_used_on,
        last_used_on,
        days_used_28 as active_days_28

    from feature_use
    where contact_id = '' and feature_key = ''

),

-- What happened before the log begins is not known: neither how long it took to learn, nor how much was used then.
log as (

    select
        min(presence.first_used_on) as begins_on,
        {{ days_ago('min(presence.first_used_on)', 'min(as_of.as_of_day)') }} as age_days

    from presence
    cross join as_of

),

contracts as (

    select
        account_id,
        min(started_on) as contract_started_on

    from subscriptions
    group by account_id

),

friction as (

    select
        account_id,
        count(contact_id) as count_friction_contacts_28,
        {{ friction_sums() }}

    from friction_by_contact
    group by account_id

),

known as (

    {{ known_friction('friction_patterns') }}

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
        {{ age_in_days('accounts.created_at', 'as_of.as_of_day') }} as age_days,
        accounts.renewal_on,
        {{ days_ago('as_of.as_of_day', 'accounts.renewal_on') }} as days_to_renewal,
        accounts.churned,
        accounts.is_internal,
        coalesce(open_tickets.count_open_tickets, 0) as count_open_tickets,
        coalesce(people.count_contacts, 0) as count_contacts,
        coalesce(people.count_active_contacts_28, 0) as count_active_contacts_28,
        {{ unless_by_nobody_known(
            ratio('coalesce(people.count_active_contacts_28, 0)', 'accounts.seats'),
            'people.count_active_contacts_28', 'coalesce(presence.active_days_28, 0) = 0',
        ) }} as seats_used_share,
        coalesce(breadth.count_features_entitled, 0) as count_features_entitled,
        coalesce(breadth.count_features_adopted, 0) as count_features_adopted,
        {{ ratio('breadth.count_features_adopted', 'breadth.count_features_entitled') }} as adoption_breadth,
        {{ unless_by_nobody_known(
            ratio('coalesce(people.count_healthy_contacts, 0)', 'accounts.seats'),
            'people.count_active_contacts_28', 'coalesce(presence.active_days_28, 0) = 0',
        ) }} as adoption_depth,
        {{ ratio('people.sum_active_days_28', var('window_days') ~ ' * people.count_active_contacts_28') }}
            as stickiness,
        case
            when {{ covers_previous_window('log.age_days') }}
                then {{ ratio(
                    'people.sum_active_days_28 - people.sum_active_days_prev_28', 'people.sum_active_days_prev_28'
                ) }}
        end as usage_trend,
        {{ days_ago('presence.last_used_on', 'as_of.as_of_day') }} as days_since_last_use,
        {{ days_ago('presence.first_used_on', 'as_of.as_of_day') }} as days_since_first_use,
        presence.first_used_on,
        presence.last_used_on,
        coalesce(contracts.contract_started_on, cast(accounts.created_at as date)) as contract_started_on,
        log.begins_on as log_begins_on,
        log.age_days as log_age_days,
        breadth.first_adopted_on,
        cast(coalesce(presence.active_days_28, 0) as bigint) as active_days_28,
        cast(coalesce(uses.count_uses_28, 0) as bigint) as count_uses_28,
        cast(coalesce(breadth.count_features_used_28, 0) as bigint) as count_features_used_28,
        cast(coalesce(people.count_power_users, 0) as bigint) as count_power_users,
        people.top_user_share,
        cast(coalesce(people.count_active_contacts_7, 0) as bigint) as count_active_contacts_7,
        {{ ratio('people.count_active_contacts_7', 'people.count_active_contacts_28') }} as weekly_stickiness,
        frequency.median_weekly_uses,
        {{ friction_columns('friction', 'known') }},
        case
            when known.knows_count_friction_28 = 1 then coalesce(friction.count_friction_contacts_28, 0)
        end as count_friction_contacts_28

    from accounts
    cross join as_of
    cross join known
    cross join log
    left join open_tickets
        on accounts.account_id = open_tickets.account_id
    left join people
        on accounts.account_id = people.account_id
    left join breadth
        on accounts.account_id = breadth.account_id
    left join uses
        on accounts.account_id = uses.account_id
    left join frequency
        on accounts.account_id = frequency.account_id
    left join presence
        on accounts.account_id = presence.account_id
    left join contracts
        on accounts.account_id = contracts.account_id
    left join friction
        on accounts.account_id = friction.account_id

),

components as (

    select
        *,
        {{ health_components() }}

    from measured

),

scored as (

    select
        *,
        {{ health_score() }} as health,
        {{ health_coverage() }} as health_coverage,
        -- Without a date of birth an account is at least as old as its first use.
        coalesce(age_days, days_since_first_use) as known_age_days

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
        cast(count_features_entitled as bigint) as count_features_entitled,
        cast(count_features_adopted as bigint) as count_features_adopted,
        adoption_breadth,
        adoption_depth,
        stickiness,
        usage_trend,
        days_since_last_use,
        health,
        health_coverage,
        concat_ws(
            '; ',
            'uses ' || count_features_adopted || ' of ' || count_features_entitled || ' features in its plan',
            case
                when seats_used_share is not null then count_active_contacts_28 || ' of ' || seats || ' seats active'
            end,
            case
                when usage_trend >= 0.1 then 'use grew by ' || cast(round(100 * usage_trend) as bigint) || ' %'
                when usage_trend <= -0.1 then 'use fell by ' || cast(round(-100 * usage_trend) as bigint) || ' %'
                when usage_trend is not null then 'use is steady'
            end,
            case
                when days_since_last_use = 0 then 'used today'
                when days_since_last_use = 1 then 'last used yesterday'
                when days_since_last_use is not null then 'last used ' || days_since_last_use || ' days ago'
            end
        ) as health_drivers,
        case
            when health_coverage >= {{ var('health_min_coverage') }} and {{ covers_window('log_age_days') }}
                then {{ band('health', 'known_age_days', 'health_bands') }}
        end as health_band,
        {{ band('seats_used_share', 'known_age_days', 'seats_bands') }} as seats_band,
        first_used_on,
        last_used_on,
        contract_started_on,
        -- What became a habit before the contract began cost no time at all.
        case
            when contract_started_on < log_begins_on then null
            when first_adopted_on < contract_started_on then 0
            else {{ days_ago('contract_started_on', 'first_adopted_on') }}
        end as time_to_value_days,
        active_days_28,
        count_uses_28,
        count_features_used_28,
        count_power_users,
        top_user_share,
        count_friction_28,
        count_sign_in_failures_28,
        count_errors_28,
        count_unsupported_browsers_28,
        count_blocked_requests_28,
        count_friction_contacts_28,
        count_active_contacts_7,
        weekly_stickiness,
        median_weekly_uses

    from scored

)

select * from final
