-- grain: one row per enrollment that is an experiment, in every arm alike
with
-- Whom somebody took in by hand, and playbooks without a goal, are outside lift.
enrollments as (

    select * from {{ ref('stg_ledger__enrollments') }}
    where coalesce(is_measured, true)

),

enrollment_contacts as (select * from {{ ref('stg_ledger__enrollment_contacts') }}),

sends as (select * from {{ ref('stg_ledger__sends') }}),

features as (select * from {{ ref('dim_features') }}),

account_features as (select * from {{ ref('account_features') }}),

contact_feature_days as {{ inlined() }} (select * from {{ ref('int_contact_feature_days') }}),

as_of as (select * from {{ ref('int_as_of') }}),

-- Nothing after the window, and nothing after as_of, can reach a goal.
periods as (

    select
        enrollments.enrollment_id,
        enrollments.account_id,
        enrollments.goal_reach,
        enrollments.goal_by,
        cast(enrollments.enrolled_at as date) as enrolled_on,
        case when enrollments.window_ends_at < as_of.as_of then enrollments.window_ends_at else as_of.as_of end
            as counted_until,
        enrollments.window_ends_at <= as_of.as_of as is_window_closed

    from enrollments
    cross join as_of

),

-- Whose use of which feature counts. By account, anybody's use of what any of its contacts is taught: `learner` is
-- the same for all. By contact, each one's use of what that one is taught.
lessons as (

    select distinct
        periods.enrollment_id,
        periods.account_id,
        case when periods.goal_by = 'contact' then enrollment_contacts.contact_id else '' end as learner,
        enrollment_contacts.feature_key,
        periods.goal_reach,
        periods.enrolled_on,
        periods.counted_until,
        features.adopted_days

    from periods
    inner join enrollment_contacts
        on periods.enrollment_id = enrollment_contacts.enrollment_id
    inner join features
        on enrollment_contacts.feature_key = features.feature_key

),

-- Days of use before entry belong to the first windows; `is_before` marks them.
lesson_days as (

    select
        lessons.enrollment_id,
        lessons.learner,
        lessons.feature_key,
        lessons.goal_reach,
        lessons.adopted_days,
        lessons.enrolled_on,
        contact_feature_days.date_day

    from lessons
    inner join contact_feature_days
        on
            lessons.account_id = contact_feature_days.account_id
            and lessons.feature_key = contact_feature_days.feature_key
            and (lessons.learner = '' or lessons.learner = contact_feature_days.contact_id)
            and lessons.counted_until >= contact_feature_days.first_used_at
    group by
        lessons.enrollment_id,
        lessons.learner,
        lessons.feature_key,
        lessons.goal_reach,
        lessons.adopted_days,
        lessons.enrolled_on,
        contact_feature_days.date_day

),

lesson_windows as (

    select
        *,
        {{ use_days_in_window(['enrollment_id', 'learner', 'feature_key']) }} as use_days_in_window,
        {{ days_ago('date_day', 'enrolled_on') }} as days_before_entry

    from lesson_days

),

-- A goal that already holds on the day of entry is reached on that day. After it, a state can only begin on a day
-- of use.
reached as (

    select
        enrollment_id,
        enrolled_on as reached_on

    from lesson_windows
    where goal_reach = 'adopted' and {{ in_window('days_before_entry') }}
    group by enrollment_id, learner, feature_key, enrolled_on, adopted_days
    having count(*) >= adopted_days

    union all

    select
        enrollment_id,
        date_day as reached_on

    from lesson_windows
    where
        date_day >= enrolled_on
        and (goal_reach = 'tried' or use_days_in_window >= adopted_days)

    union all

    select
        enrollment_id,
        enrolled_on as reached_on

    from lesson_windows
    where goal_reach = 'tried' and date_day < enrolled_on

),

goals as (

    select
        enrollment_id,
        min(reached_on) as goal_reached_on

    from reached
    group by enrollment_id

),

-- Breadth on a day past: the same formula on the days before it, over what the account is entitled to as of now, so
-- that a change of plan is not taken for learning.
entitled_days as (

    select
        periods.enrollment_id,
        account_features.feature_key,
        features.adopted_days,
        contact_feature_days.date_day,
        {{ days_ago('contact_feature_days.date_day', 'periods.enrolled_on') }} as age_at_entry,
        {{ days_ago('contact_feature_days.date_day', 'cast(periods.counted_until as date)') }} as age_at_end

    from periods
    inner join account_features
        on periods.account_id = account_features.account_id and account_features.is_entitled
    inner join features
        on account_features.feature_key = features.feature_key
    left join contact_feature_days
        on
            periods.account_id = contact_feature_days.account_id
            and account_features.feature_key = contact_feature_days.feature_key
            and periods.counted_until >= contact_feature_days.first_used_at
    group by
        periods.enrollment_id,
        periods.enrolled_on,
        periods.counted_until,
        account_features.feature_key,
        features.adopted_days,
        contact_feature_days.date_day

),

feature_use as (

    select
        enrollment_id,
        feature_key,
        adopted_days,
        sum(case when {{ in_window('age_at_entry') }} then 1 else 0 end) as days_at_entry,
        sum(case when {{ in_window('age_at_end') }} then 1 else 0 end) as days_at_end

    from entitled_days
    group by enrollment_id, feature_key, adopted_days

),

breadths as (

    select
        enrollment_id,
        {{ ratio('sum(case when days_at_entry >= adopted_days then 1 else 0 end)', 'count(*)') }} as breadth_before,
        {{ ratio('sum(case when days_at_end >= adopted_days then 1 else 0 end)', 'count(*)') }} as breadth_after

    from feature_use
    group by enrollment_id

),

contact_counts as (

    select
        enrollment_id,
        count(*) as count_contacts

    from enrollment_contacts
    group by enrollment_id

),

-- What the mail service took, whatever became of it afterwards.
send_counts as (

    select
        enrollment_id,
        count(*) as count_sends_accepted

    from sends
    where status in ('accepted', 'delivered', 'bounced', 'dropped')
    group by enrollment_id

),

final as (

    select
        enrollments.enrollment_id,
        enrollments.playbook,
        enrollments.account_id,
        enrollments.entry_no,
        enrollments.arm,
        enrollments.stratum,
        enrollments.enrolled_at,
        enrollments.window_ends_at,
        periods.is_window_closed,
        goals.goal_reached_on is not null as is_goal_reached,
        goals.goal_reached_on,
        breadths.breadth_before,
        breadths.breadth_after,
        coalesce(contact_counts.count_contacts, 0) as count_contacts,
        coalesce(send_counts.count_sends_accepted, 0) as count_sends_accepted

    from enrollments
    inner join periods
        on enrollments.enrollment_id = periods.enrollment_id
    left join goals
        on enrollments.enrollment_id = goals.enrollment_id
    left join breadths
        on enrollments.enrollment_id = breadths.enrollment_id
    left join contact_counts
        on enrollments.enrollment_id = contact_counts.enrollment_id
    left join send_counts
        on enrollments.enrollment_id = send_counts.enrollment_id

)

select * from final
