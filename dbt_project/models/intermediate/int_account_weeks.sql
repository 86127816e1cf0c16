-- grain: one row per account and week, of the last half year, in whose 28 days up to its Sunday it was used
{{ config(materialized='ephemeral') }}

with
contact_feature_days as (select * from {{ ref('int_contact_feature_days') }}),

event_days as (select * from {{ ref('int_event_days') }}),

as_of as (select * from {{ ref('int_as_of') }}),

-- The weeks of history, and seven before them: a week looks back on four, and compares them with the four before.
days as (

    select
        event_days.date_day,
        {{ week_no('event_days.date_day') }} as week_no,
        {{ day_bit(day_of_week('event_days.date_day')) }} as day_bit

    from event_days
    inner join as_of
        on event_days.date_day >= {{ history_start('as_of.as_of_day', 7) }}

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
    group by 1, 2, 3

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
        coalesce(lead(week_no) over (partition by account_id, contact_id order by week_no) - week_no, 4) as weeks_alone

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
    group by 1, 2, 3

),

offsets as (

    select generated_number - 1 as weeks_later
    from ({{ weeks_of_window() }}) as numbers

),

final as (

    select
        summed.account_id,
        summed.week_no + offsets.weeks_later as week_no,
        sum(case when offsets.weeks_later < summed.weeks_alone then summed.count_contacts else 0 end)
            as count_active_contacts_28,
        sum(summed.sum_active_days) as sum_active_days_28,
        max(summed.last_used_on) as last_used_on

    from summed
    cross join offsets
    group by 1, 2

)

select * from final
