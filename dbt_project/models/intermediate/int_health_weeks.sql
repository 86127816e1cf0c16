-- grain: one row per finished week of history, by its Sunday, with the version of what its health is made of
with
lived as (select * from {{ ref('int_account_weeks_lived') }}),

event_days as (select * from {{ ref('int_event_days') }}),

plan_features as (select * from {{ ref('int_plan_features') }}),

features as (select * from {{ ref('stg_features') }}),

weeks as (

    select
        week_ends_on,
        count(*) as count_accounts,
        {{ fingerprint_of([
            'account_id', 'log_age_days', 'plan', 'seats', 'age_days', 'first_used_on',
        ]) }} as fingerprint

    from lived
    group by week_ends_on

),

-- Use is compared with that of the window before.
day_lists as (

    select
        weeks.week_ends_on,
        {{ listed("event_days.date_day || '=' || event_days.day_version", 'event_days.date_day') }} as days

    from weeks
    inner join event_days
        on event_days.date_day between {{ first_day_of_previous_window('weeks.week_ends_on') }} and weeks.week_ends_on
    group by weeks.week_ends_on

),

plan_lists as (

    select
        {{ listed(
            "plan_features.plan || '=' || plan_features.feature_key || '=' || features.adopted_days",
            'plan_features.plan, plan_features.feature_key'
        ) }} as plans

    from plan_features
    inner join features
        on plan_features.feature_key = features.feature_key

),

final as (

    select
        weeks.week_ends_on as date_day,
        {{ version_of(['weeks.count_accounts', 'weeks.fingerprint', 'day_lists.days', 'plan_lists.plans']) }}
            as day_version

    from weeks
    cross join plan_lists
    left join day_lists
        on weeks.week_ends_on = day_lists.week_ends_on

)

select * from final
