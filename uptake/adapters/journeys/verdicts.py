"""The verdict on every stage that is due: not at all, later, or now; then one mail per address, then caps.

Each step is one statement; `uptake.domain.eligibility` says what it means for one row.
"""

DUE = """
create temp table due as
select cursors.*
from cursors
cross join moment
anti join enrollments_ending using (enrollment_id)
where not cursors.is_waiting and cursors.stage_key is not null and cursors.due_at <= moment.now
"""

# The order of `uptake.domain.eligibility.stage_verdict`. Only stages with a goal of their own are joined with features:
# as a condition of an outer join, "it has a goal" would make DuckDB compare every row with every other.
STAGES = """
create temp table stage_verdicts as
with
goals as (
    select
        due.enrollment_id,
        due.contact_id,
        goal_reached(
            case when due.goal_by_account then features.adoption_state else own.adoption_state end, due.goal_is_adopted
        ) as is_reached
    from due
    left join account_features as features
        on
            features.account_id = due.account_id
            and features.feature_key = coalesce(due.goal_feature, due.feature_key)
    left join contact_features as own
        on
            own.contact_id = due.contact_id
            and own.feature_key = coalesce(due.goal_feature, due.feature_key)
    where due.goal_is_adopted is not null
),

asked as (
    select
        due.*,
        case
            when everything.action is not null then 'everything'
            when playbook_control.action = 'pause' then 'playbook'
            when account_control.action = 'pause' then 'account'
            when not due.is_task and sending.action is not null then 'sending'
        end as paused_scope
    from due
    left join controls as everything on everything.scope = 'all'
    left join controls as sending on sending.scope = 'sending'
    left join controls as playbook_control
        on playbook_control.scope = 'playbook' and playbook_control.target = due.playbook
    left join controls as account_control
        on account_control.scope = 'account' and account_control.target = due.account_id
)

select
    asked.* exclude (paused_scope),
    rules.counts_as,
    rules.priority,
    case
        when asked.due_at + asked.wait_for < moment.too_late_before then 'too_late'
        when moment.gate_held is null and waits.contact_id is not null and not coalesce(waits.holds, false)
            and moment.now < asked.due_at + asked.wait_for then 'waiting'
        when moment.gate_held is null and goals.is_reached then 'stage_goal_reached'
        when moment.gate_held is null and whens.contact_id is not null and whens.holds is null then 'value_missing'
        when moment.gate_held is null and not whens.holds then 'condition_false'
        when asked.paused_scope is not null then 'paused'
        when moment.gate_held is not null then 'gate_held'
        when not asked.is_task and opens.opens_at > moment.now then 'outside_window'
    end as reason,
    case
        when asked.paused_scope is not null then asked.paused_scope
        when moment.gate_held is not null then moment.gate_held
        else strftime(opens.opens_at, '%Y-%m-%dT%H:%M:%SZ')
    end as retry_detail,
    opens.closes_at as window_ends_at
from asked
inner join rules using (version_id)
cross join moment
left join goals using (enrollment_id, contact_id)
left join whens using (enrollment_id, contact_id)
left join waits using (enrollment_id, contact_id)
left join opens using (version_id, contact_id)
"""

# The same as `uptake.domain.eligibility.settle`. Mails on their way count against caps like mails taken.
SETTLE = """
create temp table settled as
with
contenders as (
    select
        *,
        row_number() over by_address as address_place,
        first_value(playbook || '/' || stage_key || '/' || contact_id) over by_address as winner
    from stage_verdicts
    where reason is null and not is_task
    window by_address as (
        partition by address_hash order by priority, playbook, place, contact_id, enrollment_id
    )
),

on_their_way as (
    select people.address_hash, enrollments.account_id
    from open_sends
    inner join enrollments using (enrollment_id)
    left join people on people.contact_id = open_sends.contact_id
),

person_ways as (select address_hash, count(*) as mails from on_their_way group by address_hash),

account_ways as (select account_id, count(*) as mails from on_their_way group by account_id),

just_mailed as (
    select touches.address_hash, true as is_so
    from touches
    cross join moment
    where touches.accepted_at > moment.just_since
    union
    select people.address_hash, true as is_so
    from open_sends
    inner join people using (contact_id)
    where open_sends.status in ('planned', 'claimed', 'sending')
),

person_touches as (
    select rules.version_id, touches.address_hash, count(*) as mails
    from touches
    semi join contenders using (address_hash)
    inner join rules on touches.accepted_at > rules.person_since
    group by rules.version_id, touches.address_hash
),

account_touches as (
    select rules.version_id, touches.account_id, count(*) as mails
    from touches
    semi join contenders using (account_id)
    inner join rules on touches.accepted_at > rules.account_since
    group by rules.version_id, touches.account_id
),

rooms as (
    select
        contenders.*,
        just_mailed.is_so is not null as is_just_mailed,
        rules.person_mails - coalesce(person_touches.mails, 0) - coalesce(person_ways.mails, 0) as person_room,
        rules.account_mails - coalesce(account_touches.mails, 0) - coalesce(account_ways.mails, 0) as account_room
    from contenders
    inner join rules using (version_id)
    left join person_touches
        on person_touches.version_id = contenders.version_id and person_touches.address_hash = contenders.address_hash
    left join just_mailed on just_mailed.address_hash = contenders.address_hash
    left join person_ways on person_ways.address_hash = contenders.address_hash
    left join account_touches
        on account_touches.version_id = contenders.version_id and account_touches.account_id = contenders.account_id
    left join account_ways on account_ways.account_id = contenders.account_id
),

in_account as (
    select
        *,
        row_number() over (
            partition by account_id, address_place = 1 and not is_just_mailed and person_room >= 1
            order by priority, playbook, place, contact_id, enrollment_id
        ) as account_place
    from rooms
)

select
    enrollment_id,
    contact_id,
    case
        when address_place > 1 or is_just_mailed then 'priority_lost'
        when person_room < 1 then 'capped_person'
        when account_place > account_room then 'capped_account'
    end as reason,
    case when address_place > 1 and not is_just_mailed then winner end as winner
from in_account
"""

# The same as `uptake.domain.eligibility.settle_tasks`.
TASKS = """
create temp table tasks_opened as
with
held as (
    select distinct account_id, dedupe_key, {'enrollment_id': enrollment_id, 'stage_key': stage_key} as task
    from open_tasks
    anti join enrollments_ending using (enrollment_id)  -- their tasks are withdrawn by this very tick
),

contenders as (
    select
        stages.*,
        {'enrollment_id': stages.enrollment_id, 'stage_key': stages.stage_key} as task,
        first_value({'enrollment_id': stages.enrollment_id, 'stage_key': stages.stage_key}) over (
            partition by stages.account_id, stages.dedupe_key
            order by stages.priority, stages.playbook, stages.place, stages.enrollment_id
        ) as first_task
    from stage_verdicts as stages
    where stages.reason is null and stages.is_task
)

select
    contenders.* exclude (task, first_task),
    case when coalesce(held.task, contenders.first_task) <> contenders.task then 'duplicate_task' end as task_reason
from contenders
left join held using (account_id, dedupe_key)
"""

#: `settled` when no mail could leave.
NOBODY_CONTENDS = "create temp table settled (enrollment_id bigint, contact_id varchar, reason varchar, winner varchar)"

VERDICTS = """
with
answers as (
    select
        stages.*,
        coalesce(stages.reason, settled.reason, tasks.task_reason) as final_reason,
        settled.winner
    from stage_verdicts as stages
    left join settled using (enrollment_id, contact_id)
    left join tasks_opened as tasks using (enrollment_id, contact_id)
)

select
    answers.enrollment_id,
    answers.contact_id,
    answers.stage_key,
    coalesce(effects.verdict, case when answers.is_task then 'task' else 'send' end) as verdict,
    answers.final_reason as reason,
    case
        when answers.final_reason in ('paused', 'gate_held', 'outside_window') then answers.retry_detail
        else coalesce(answers.winner, '')
    end as detail,
    answers.counts_as as version_id,
    answers.feature_key,
    answers.due_at,
    case when not answers.is_task and answers.final_reason is null then answers.window_ends_at end as window_ends_at,
    case when answers.is_task and answers.final_reason is null then coalesce(answers.owner, account.csm) end as owner,
    task_facts.facts
from answers
left join accounts_current as account on account.account_id = answers.account_id
left join task_facts
    on task_facts.enrollment_id = answers.enrollment_id and task_facts.contact_id = answers.contact_id
left join effects on effects.reason = answers.final_reason
order by answers.enrollment_id, answers.contact_id
"""
