"""Who leaves, and where those who stay stand: open contacts, endings, cursors, whole enrollments that end.

Each step is one statement; `uptake.domain.eligibility` and `uptake.domain.enrollments` say what it means for one row.
"""

# Every open contact of every open enrollment whose release is known.
OPEN = """
create temp table open_contacts as
select
    enrollments.enrollment_id,
    members.contact_id,
    enrollments.account_id,
    members.feature_key,
    enrollments.version_id,
    enrollments.playbook,
    enrollments.arm,
    enrollments.entry_no,
    enrollments.enrolled_at,
    floor(epoch_us(moment.now - enrollments.enrolled_at) / 86400000000)::bigint as age_days
from enrollments
inner join rules using (version_id)
inner join enrollment_contacts as members using (enrollment_id)
cross join moment
where enrollments.ended_at is null;

create temp view asked as select distinct version_id, contact_id from open_contacts;
"""

# The reasons in the order of `uptake.domain.eligibility.contact_ending`. What the snapshot says counts only while
# its gate stands: an ending cannot be taken back.
CONTACTS = """
create temp table contacts_decided as
select
    open_contacts.*,
    persons.address_hash,
    moment.gate_held is null and rules.goal_by_account
        and goal_reached(features.adoption_state, rules.goal_is_adopted) as is_account_at_goal,
    case
        when moment.gate_held is null and not rules.goal_by_account
            and goal_reached(own.adoption_state, rules.goal_is_adopted) then 'goal_reached'
        when moment.gate_held is null and coalesce(exits.holds, false) then 'exit_condition'
        when persons.is_erased then 'erased'
        when persons.is_suppressed then 'suppressed'
        when not persons.is_consented then 'unconsented'
        when not persons.has_address or (moment.gate_held is null and contacts.contact_id is null) then 'left'
        when answered.contact_id is not null then 'answered'
        when persons.shares_address then 'holdout_address'
    end as reason
from open_contacts
cross join moment
inner join rules using (version_id)
inner join persons on persons.version_id = open_contacts.version_id and persons.contact_id = open_contacts.contact_id
left join contacts_current as contacts on contacts.contact_id = open_contacts.contact_id
left join account_features as features
    on features.account_id = open_contacts.account_id and features.feature_key = open_contacts.feature_key
left join contact_features as own
    on own.contact_id = open_contacts.contact_id and own.feature_key = open_contacts.feature_key
left join feature_answers as answered
    on answered.contact_id = open_contacts.contact_id and answered.feature_key = open_contacts.feature_key
left join exits on exits.enrollment_id = open_contacts.enrollment_id and exits.contact_id = open_contacts.contact_id
"""

# Where each treated contact that stays stands: behind the ended stage that comes last in the file. `stage_key` NULL: it
# has begun with none, or that stage was removed.
STANDING = """
create temp table standing as
with
staying as (
    select * from contacts_decided
    where reason is null and arm = 'treatment'
),

tasks_waited_for as (
    select
        open_tasks.*,
        open_tasks.due_at + (moment.now - moment.too_late_before) as lapses_at,
        lapses_at <= moment.now as is_lapsed
    from open_tasks
    cross join moment
    where open_tasks.contact_id is not null
),

ends as (
    select enrollment_id, contact_id, stage_key, ended_at from stage_ends
    union all
    select enrollment_id, contact_id, stage_key, greatest(decided_at, lapses_at) from tasks_waited_for
    where is_lapsed
),

ended as (
    select
        staying.enrollment_id,
        staying.contact_id,
        max(places.place) as place,
        max(ends.ended_at) as ended_at
    from staying
    inner join ends using (enrollment_id, contact_id)
    left join places on places.version_id = staying.version_id and places.stage_key = ends.stage_key
    group by staying.enrollment_id, staying.contact_id
),

waiting as (
    select enrollment_id, contact_id from open_sends
    union
    select enrollment_id, contact_id from tasks_waited_for where not is_lapsed
)

select
    staying.enrollment_id, staying.contact_id, staying.account_id, staying.address_hash, staying.feature_key,
    staying.version_id, staying.playbook, staying.entry_no, staying.age_days,
    stages.stage_key,
    coalesce(ended.place, -1) as place,
    coalesce(ended.ended_at, staying.enrolled_at) as counts_from,
    waiting.contact_id is not null as is_on_its_way
from staying
left join ended using (enrollment_id, contact_id)
left join stages on stages.version_id = staying.version_id and stages.place = ended.place
left join waiting using (enrollment_id, contact_id)
"""

# The stage each of them waits for, the same as `uptake.domain.ways.next_stage`. `stage_key` NULL: no stage is left.
# While the gate is held nobody is sent down a way that a condition opens: the contact waits where it stands.
CURSORS = """
create temp table cursors as
with
open_ways as (
    select standing.enrollment_id, standing.contact_id, arg_min(ways.to_place, ways.choice) as place
    from standing
    inner join ways on ways.version_id = standing.version_id and ways.stage_key = standing.stage_key
    left join branches
        on
            branches.enrollment_id = standing.enrollment_id
            and branches.contact_id = standing.contact_id
            and branches.condition = ways.condition
    where ways.condition is null or branches.holds
    group by standing.enrollment_id, standing.contact_id
),

following as (
    select standing.enrollment_id, standing.contact_id, min(stages.place) as place
    from standing
    inner join stages on stages.version_id = standing.version_id and stages.place > standing.place
    where standing.stage_key is null
    group by standing.enrollment_id, standing.contact_id
),

forks as (select distinct version_id, stage_key from ways where condition is not null)

select
    standing.* exclude (stage_key, place, counts_from, is_on_its_way),
    stages.stage_key, stages.place, stages.is_task, stages.dedupe_key, stages.owner, stages.wait_for,
    stages.goal_feature, stages.goal_by_account, stages.goal_is_adopted,
    standing.counts_from + stages.after as due_at,
    standing.is_on_its_way or (moment.gate_held is not null and forks.stage_key is not null) as is_waiting
from standing
cross join moment
left join open_ways using (enrollment_id, contact_id)
left join following using (enrollment_id, contact_id)
left join stages
    on stages.version_id = standing.version_id and stages.place = coalesce(open_ways.place, following.place)
left join forks on forks.version_id = standing.version_id and forks.stage_key = standing.stage_key
"""

ENROLLMENTS = """
create temp table enrollments_ending as
with
stops as (
    select
        enrollments.enrollment_id,
        coalesce(playbook_control.action = 'stop', false)
            or coalesce(account_control.action = 'stop', false) as is_stopped
    from enrollments
    left join controls as playbook_control
        on playbook_control.scope = 'playbook' and playbook_control.target = enrollments.playbook
    left join controls as account_control
        on account_control.scope = 'account' and account_control.target = enrollments.account_id
    where enrollments.ended_at is null
),

journeys as (
    select
        contacts.enrollment_id,
        bool_or(contacts.is_account_at_goal) as is_at_goal,
        bool_and(
            contacts.reason is not null
            or (cursors.contact_id is not null and cursors.stage_key is null and not cursors.is_waiting)
        ) as is_done,
        case
            when bool_and(contacts.reason is not null) and min(contacts.reason) = max(contacts.reason)
                then min(contacts.reason)
        end as shared_reason
    from contacts_decided as contacts
    left join cursors using (enrollment_id, contact_id)
    group by contacts.enrollment_id
),

decided as (
    select
        enrollments.enrollment_id,
        stops.is_stopped or coalesce(journeys.is_at_goal, false) as is_account_wide,
        case
            when stops.is_stopped then 'stopped'
            when journeys.is_at_goal then 'goal_reached'
            when coalesce(journeys.is_done, true) then coalesce(journeys.shared_reason, 'completed')
            when enrollments.arm <> 'treatment'
                and enrollments.enrolled_at + rules.controls_complete_after <= moment.now then 'completed'
        end as reason
    from enrollments
    inner join stops using (enrollment_id)
    inner join rules using (version_id)
    left join journeys using (enrollment_id)
    cross join moment
)

select enrollment_id, reason, is_account_wide from decided
where reason is not null
"""

LEAVING = """
select contacts.enrollment_id, contacts.contact_id, contacts.reason
from contacts_decided as contacts
left join enrollments_ending as ending using (enrollment_id)
where contacts.reason is not null and coalesce(not ending.is_account_wide, true)
order by contacts.enrollment_id, contacts.contact_id
"""
