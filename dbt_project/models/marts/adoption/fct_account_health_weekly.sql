-- grain: one row per account and finished week, the last half year of them: its health on the week's Sunday
{{ config(materialized='by_day', day='week_ends_on', days_of='int_health_weeks', days_back=2 * var('window_days')) }}

with
account_weeks_lived as (select * from {{ ref('int_account_weeks_lived') }}),

event_days as (select * from {{ ref('int_event_days') }}),

features as (select * from {{ ref('dim_features') }}),

daily as (select * from {{ ref('fct_account_feature_daily') }}),

account_weeks as (select * from {{ ref('int_account_weeks') }}),

plan_features as (select * from {{ ref('int_plan_features') }}),

changed_weeks as (select date_day from {{ changed_days(ref('int_health_weeks')) }}),

lived as (

    select account_weeks_lived.*
    from account_weeks_lived
    inner join changed_weeks
        on account_weeks_lived.week_ends_on = changed_weeks.date_day

),

weeks as (

    select distinct week_ends_on
    from lived

),

days as (

    select distinct event_days.date_day
    from event_days
    inner join weeks
        on event_days.date_day between {{ first_day_of_window('weeks.week_ends_on') }} and weeks.week_ends_on

),

feature_weeks as (

    select
        daily.account_id,
        daily.feature_key,
        {{ week_no('daily.date_day') }} as week_no,
        count(*) as use_days

    from daily
    inner join days
        on daily.date_day = days.date_day
    group by daily.account_id, daily.feature_key, {{ week_no('daily.date_day') }}

),

offsets as (

    select generated_number - 1 as weeks_later
    from ({{ weeks_of_window() }}) as numbers

),

feature_windows as (

    select
        feature_weeks.account_id,
        feature_weeks.feature_key,
        feature_weeks.week_no + offsets.weeks_later as week_no,
        sum(feature_weeks.use_days) as days_used_28

    from feature_weeks
    cross join offsets
    group by feature_weeks.account_id, feature_weeks.feature_key, feature_weeks.week_no + offsets.weeks_later

),

adopted as (

    select
        lived.account_id,
        lived.week_no,
        count(*) as count_features_adopted

    from feature_windows
    inner join features
        on
            feature_windows.feature_key = features.feature_key
            and feature_windows.days_used_28 >= features.adopted_days
    inner join lived
        on feature_windows.account_id = lived.account_id and feature_windows.week_no = lived.week_no
    inner join plan_features
        on lived.plan = plan_features.plan and feature_windows.feature_key = plan_features.feature_key
    group by lived.account_id, lived.week_no

),

entitled as (

    select
        plan,
        count(*) as count_features_entitled

    from plan_features
    group by plan

),

measured as (

    select
        lived.account_id,
        lived.week_ends_on,
        lived.plan,
        lived.seats,
        lived.age_days,
        entitled.count_features_entitled,
        case
            when entitled.count_features_entitled is not null then coalesce(adopted.count_features_adopted, 0)
        end as count_features_adopted,
        coalesce(account_weeks.count_active_contacts_28, 0) as count_active_contacts_28,
        {{ unless_by_nobody_known(
            ratio('coalesce(account_weeks.count_active_contacts_28, 0)', 'lived.seats'),
            'account_weeks.count_active_contacts_28', 'account_weeks.last_used_on is null',
        ) }} as seats_used_share,
        case
            when {{ covers_previous_window('lived.log_age_days') }}
                then {{ ratio(
                    'account_weeks.sum_active_days_28 - account_weeks.sum_active_days_prev_28',
                    'account_weeks.sum_active_days_prev_28'
                ) }}
        end as usage_trend,
        -- Longer ago than a window is as bad as a window ago.
        case
            when account_weeks.last_used_on is not null
                then {{ days_ago('account_weeks.last_used_on', 'lived.week_ends_on') }}
            when lived.first_used_on is not null then {{ var('window_days') }}
        end as days_since_last_use,
        coalesce(lived.age_days, {{ days_ago('lived.first_used_on', 'lived.week_ends_on') }}) as known_age_days

    from lived
    left join entitled
        on lived.plan = entitled.plan
    left join adopted
        on lived.account_id = adopted.account_id and lived.week_no = adopted.week_no
    left join account_weeks
        on lived.account_id = account_weeks.account_id and lived.week_ends_on = account_weeks.week_ends_on

),

shares as (

    select
        *,
        {{ ratio('count_features_adopted', 'count_features_entitled') }} as adoption_breadth

    from measured

),

components as (

    select
        *,
        {{ health_components() }}

    from shares

),

scored as (

    select
        *,
        {{ health_score() }} as health,
        {{ health_coverage() }} as health_coverage

    from components

),

final as (

    select
        account_id,
        week_ends_on,
        plan,
        seats,
        age_days,
        cast(count_features_entitled as bigint) as count_features_entitled,
        cast(count_features_adopted as bigint) as count_features_adopted,
        adoption_breadth,
        cast(count_active_contacts_28 as bigint) as count_active_contacts_28,
        seats_used_share,
        usage_trend,
        health,
        health_coverage,
        case
            when health_coverage >= {{ var('health_min_coverage') }}
                then {{ band('health', 'known_age_days', 'health_bands') }}
        end as health_band

    from scored
    order by week_ends_on, account_id

)

select * from final
