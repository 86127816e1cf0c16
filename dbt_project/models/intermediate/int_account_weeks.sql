-- grain: one row per account and finished week in whose 28 days up to its Sunday, or the 28 before, it was used
{{ config(
    materialized='by_day', day='week_ends_on', days_of='int_health_weeks', days_back=2 * var('window_days')
) }}

with
contact_feature_days as (select * from {{ ref('int_contact_feature_days') }}),

event_days as (select * from {{ ref('int_event_days') }}),

health_weeks as (select * from {{ ref('int_health_weeks') }}),

changed_weeks as (select date_day from {{ changed_days(ref('int_health_weeks')) }}),

-- A week that has changed because it is no week of history any more needs no day.
weeks as (

    select
        health_weeks.date_day as week_ends_on,
        {{ week_no('health_weeks.date_day') }} as week_no

    from health_weeks
    inner join changed_weeks
        on health_weeks.date_day = changed_weeks.date_day

),

days as (

    select distinct
        event_days.date_day,
        {{ week_no('event_days.date_day') }} as week_no,
        {{ day_bit(day_of_week('event_days.date_day')) }} as day_bit

    from event_days
    inner join weeks
        on event_days.date_day between {{ first_day_of_previous_window('weeks.week_ends_on') }} and weeks.week_ends_on

),

week_bits as (

    select
        contact_feature_days.account_id,
        contact_feature_days.contact_id,
        days.week_no,
        {{ all_day_bits() }}(days.day_bit) as day_bits,
        max(contact_feature_days.date_day) as last_used_on

    from contact_feature_days
    inner join days
        on contact_feature_days.date_day = days.date_day
    group by contact_feature_days.account_id, contact_feature_days.contact_id, days.week_no

),

contact_weeks as (

    select
        account_id,
        contact_id,
        week_no,
        {{ count_day_bits('day_bits', 0, 7) }} as active_days,
        last_used_on

    from week_bits

),

-- A week of use puts a contact into the four windows that hold it. To count a contact once in each window, a week
-- speaks for those windows only which end before the contact's next week of use does.
spans as (

    select
        account_id,
        contact_id,
        week_no,
        active_days,
        last_used_on,
        -- Longer than its four windows a week speaks for nothing: the next four only compare with it. Without a next
        -- week the comparison is NULL, and the week speaks for all four.
        case
            when lead(week_no) over (partition by account_id, contact_id order by week_no) - week_no < 4
                then lead(week_no) over (partition by account_id, contact_id order by week_no) - week_no
            else 4
        end as weeks_alone

    from contact_weeks

),

-- Unattributed use counts for the last use only: somebody in the account was there.
summed as (

    select
        account_id,
        week_no,
        weeks_alone,
        count(contact_id) as count_contacts,
        sum(case when contact_id is not null then active_days else 0 end) as sum_active_days,
        max(last_used_on) as last_used_on

    from spans
    group by account_id, week_no, weeks_alone

),

-- The four windows that hold a week, and the four in whose window before it lies.
offsets as (

    select generated_number - 1 as weeks_later
    from ({{ weeks_of_both_windows() }}) as numbers

),

final as (

    select
        summed.account_id,
        weeks.week_ends_on,
        sum(case when offsets.weeks_later < summed.weeks_alone then summed.count_contacts else 0 end)
            as count_active_contacts_28,
        sum(case when offsets.weeks_later < 4 then summed.sum_active_days else 0 end) as sum_active_days_28,
        sum(case when offsets.weeks_later >= 4 then summed.sum_active_days end) as sum_active_days_prev_28,
        max(case when offsets.weeks_later < 4 then summed.last_used_on end) as last_used_on

    from summed
    cross join offsets
    inner join weeks
        on summed.week_no + offsets.weeks_later = weeks.week_no
    group by summed.account_id, weeks.week_ends_on

)

select * from final
