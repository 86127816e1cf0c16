-- enrollments_by_playbook --
select
    e.playbook,
    e.arm,
    e.status,
    count(*) as count_enrollments,
    sum((select count(*) from enrollment_contacts as c where c.enrollment_id = e.enrollment_id)) as count_contacts
from enrollments as e
group by e.playbook, e.arm, e.status
order by e.playbook, e.arm, e.status

-- enrollment_ends --
select playbook, arm, end_reason, count(*) as count_enrollments
from enrollments
where status = 'ended'
group by playbook, arm, end_reason
order by playbook, arm, end_reason

-- sends_by_playbook --
select playbook, stage_key, status, reason, count(*) as count_sends
from sends
group by playbook, stage_key, status, reason
order by playbook, stage_key, status, reason

-- decisions_by_reason --
select e.playbook, d.stage_key, d.verdict, d.reason, count(*) as count_contacts
from decisions as d
inner join enrollments as e on d.enrollment_id = e.enrollment_id
where d.superseded_at is null
group by e.playbook, d.stage_key, d.verdict, d.reason
order by e.playbook, d.stage_key, d.verdict, d.reason

-- withheld_by_reason --
-- Current decisions not to send, and planned messages stopped before their intent (which have a decision too).
select e.playbook, d.reason, count(*) as count_contacts
from decisions as d
inner join enrollments as e on d.enrollment_id = e.enrollment_id
where d.superseded_at is null and d.verdict not in ('send', 'task')
group by e.playbook, d.reason
order by e.playbook, d.reason

-- stuck_sends --
-- What nobody knows the fate of: waits for evidence (unknown) or a person (held).
select send_id, playbook, stage_key, account_id, contact_id, status, detail, attempt, sending_at, updated_at
from sends
where status in ('unknown', 'held')
order by send_key

-- unresolved_sends --
-- Unknown or held, with the address to ask the mail service's log about: NULL once it is another one, or erased.
select s.send_id, s.status, s.sending_at, s.address_hash,
    case when p.address_hash = s.address_hash then p.address end as address
from sends as s
left join people as p on s.contact_id = p.contact_id
where s.status in ('unknown', 'held')
order by s.send_key

-- known_mails --
-- What is known to have been taken since: message ids come short from a 202, whole from an event.
select message_id, address_hash
from sends
where message_id is not null and coalesce(accepted_at, updated_at) >= :since
union
select sg_message_id, address_hash
from delivery_events
where sg_message_id is not null and occurred_at >= :since

-- known_mails_of_stuck --
-- The same, to the addresses of messages of unknown fate alone.
with stuck as (select address_hash from sends where status in ('unknown', 'held'))

select message_id, address_hash
from sends
where message_id is not null and coalesce(accepted_at, updated_at) >= :since
    and address_hash in (select stuck.address_hash from stuck)
union
select sg_message_id, address_hash
from delivery_events
where sg_message_id is not null and occurred_at >= :since
    and address_hash in (select stuck.address_hash from stuck)

-- last_known --
-- The newest moment at which this ledger decided or sent; webhooks come in also after it was restored.
select max(at_) as known_at
from (
    select max(heartbeat_at) as at_ from runs where kind = 'tick'
    union all
    select max(sending_at) from sends
) as moments

-- last_reconciled --
-- When a lock on a forgotten ledger was last opened: what was forgotten before is settled.
select max(ordered_at) as reconciled_at
from controls
where scope = 'forgotten' and action = 'resume'

-- unfolded_batches --
-- Webhook bodies that were stored and are not folded; old ones cannot be.
select count(*) as count_batches, min(batch_id) as first_batch_id, min(received_at) as received_at
from webhook_batches
where folded_at is null

-- planned_by_day --
select playbook, stage_key, substr(cast(due_at as text), 1, 10) as due_on, count(*) as count_sends
from sends
where status in ('planned', 'claimed')
group by playbook, stage_key, substr(cast(due_at as text), 1, 10)
order by playbook, stage_key, due_on

-- send --
select
    s.send_id, s.enrollment_id, s.stage_key, s.contact_id, s.playbook, s.account_id, s.version_id, s.snapshot_id,
    s.gate_id, s.run_id, s.git_sha, s.template_hash, s.arm, s.feature_key, s.status, s.reason, s.detail, s.attempt,
    s.body_hash, s.message_id, s.due_at, s.planned_at, s.sending_at, s.accepted_at, s.delivered_at, s.updated_at,
    s.released_by, s.release_reason, s.released_at
from sends as s
where s.send_id = :send_id

-- plans --
select p.plan_id, p.playbook, p.version_id, p.release_hash, p.plan_hash, p.snapshot_id, p.planned_at, p.count_accounts,
    p.count_contacts, p.summary,
    (select count(*) from approvals as a where a.plan_id = p.plan_id) as count_approvals
from plans as p
order by p.plan_key desc

-- latest_plans --
-- The newest plan of each playbook, without the people in it.
select playbook, plan_id, release_hash, planned_at
from plans
where plan_key in (select max(plan_key) from plans group by playbook)
order by playbook

-- approvals --
select a.approval_id, a.plan_id, a.playbook, a.version_id, p.release_hash, a.approved_by, a.approved_at, a.expires_at,
    a.tolerance
from approvals as a
inner join plans as p on a.plan_id = p.plan_id
order by a.approval_id desc

-- controls --
select control_id, scope, target, action, reason, ordered_by, ordered_at, until_at
from controls
order by control_id desc

-- audiences --
-- What was measured last for each playbook.
select playbook, snapshot_id, count_accounts, held as held_because, measured_at
from audiences
where audience_id in (select max(audience_id) from audiences group by playbook)
order by playbook

-- gates --
select gate_id, snapshot_id, status, reasons, checks, as_of as as_of_at, checked_at
from snapshot_gates
order by gate_id desc
limit :count

-- runs --
select run_id, kind, fence, owner, status, detail, started_at, heartbeat_at, lease_until_at, finished_at
from runs
order by run_id desc
limit :count

-- open_tasks --
-- What somebody is to do, the most urgent first. The name is the contact's as it is known now, never stored with it.
select
    t.task_id, t.enrollment_id, t.stage_key, t.playbook, t.account_id, t.contact_id, t.version_id, t.feature_key,
    t.title, t.owner, t.facts, t.due_at, t.opened_at, p.given_name, p.full_name, p.role, p.locale
from tasks as t
left join people as p on t.contact_id = p.contact_id
where t.status = 'open'
order by t.due_at, t.task_id

-- tasks_to_post --
-- What the task webhook is still to be told, the oldest first: every open task, and of closed ones those that it was told
-- of, or was to be told of, while they were open.
select
    t.task_id, t.enrollment_id, t.stage_key, t.playbook, t.account_id, t.contact_id, t.version_id, t.feature_key,
    t.title, t.owner, t.facts, t.due_at, t.opened_at, t.status, t.closed_at, t.close_reason, e.entry_no,
    case when t.status = 'open' then 'opened' else 'closed' end as event,
    p.given_name, p.full_name, p.role, p.locale
from tasks as t
inner join enrollments as e on t.enrollment_id = e.enrollment_id
left join people as p on t.contact_id = p.contact_id
left join task_posts as opened on t.task_id = opened.task_id and opened.event = 'opened'
left join task_posts as closed on t.task_id = closed.task_id and closed.event = 'closed'
where
    (t.status = 'open' and opened.posted_at is null)
    or (t.status <> 'open' and opened.task_id is not null and closed.posted_at is null)
order by t.task_id
limit :at_most

-- proven_duplicates --
-- Sends that the mail service took twice: an event names another message of it than the one that is known, and nobody
-- had ordered it again. The newest events only: a ledger keeps years of them.
select
    count(distinct s.send_id) as count_sends, min(s.send_id) as first_send_id, max(e.occurred_at) as last_heard_at
from delivery_events as e
inner join sends as s on e.send_id = s.send_id
where
    e.event_id > (select coalesce(max(newest.event_id), 0) - 500000 from delivery_events as newest)
    and e.event <> 'dropped' and s.released_at is null
    and substr(e.sg_message_id, 1, length(s.message_id)) <> s.message_id

-- waiting_task_posts --
-- What could not be posted yet; that a task is open is no news any more once it is closed.
select count(*) as count_posts, min(w.noted_at) as first_noted_at, min(w.trouble) as trouble
from task_posts as w
inner join tasks as t on w.task_id = t.task_id
where w.posted_at is null and w.trouble is not null and (w.event = 'closed' or t.status = 'open')

-- task --
select task_id, playbook, stage_key, account_id, contact_id, status, closed_by, close_reason, closed_at
from tasks
where task_id = :task_id

-- contact_enrollments --
select
    e.enrollment_id, e.playbook, e.account_id, e.entry_no, e.version_id, e.arm, e.stratum, e.enrolled_at,
    e.window_ends_at, e.snapshot_id, e.status as enrollment_status, e.end_reason as enrollment_end_reason,
    c.feature_key, c.contact_rank, c.status, c.ended_at, c.end_reason
from enrollment_contacts as c
inner join enrollments as e on c.enrollment_id = e.enrollment_id
where c.contact_id = :contact_id
order by e.enrollment_id

-- contact_history --
-- Everything the ledger knows of one contact, oldest first.
select 'entered' as what, e.enrolled_at as happened_at, e.playbook, e.enrollment_id, null as stage_key, e.arm as outcome,
    null as reason, e.entry_reason as detail
from enrollment_contacts as c
inner join enrollments as e on c.enrollment_id = e.enrollment_id
where c.contact_id = :contact_id
union all
select 'left', c.ended_at, e.playbook, e.enrollment_id, null, c.status, c.end_reason, ''
from enrollment_contacts as c
inner join enrollments as e on c.enrollment_id = e.enrollment_id
where c.contact_id = :contact_id and c.ended_at is not null
union all
select 'decided', d.decided_at, e.playbook, e.enrollment_id, d.stage_key, d.verdict, d.reason, d.detail
from decisions as d
inner join enrollments as e on d.enrollment_id = e.enrollment_id
where d.contact_id = :contact_id
union all
select 'sent', coalesce(s.accepted_at, s.updated_at), s.playbook, s.enrollment_id, s.stage_key, s.status, s.reason,
    s.detail
from sends as s
where s.contact_id = :contact_id
union all
select 'delivery', v.occurred_at, s.playbook, s.enrollment_id, s.stage_key, v.event, v.kind, v.reason
from delivery_events as v
inner join sends as s on v.send_id = s.send_id
where s.contact_id = :contact_id
union all
select 'task', t.closed_at, t.playbook, t.enrollment_id, t.stage_key, t.status, null,
    'by ' || t.closed_by || ': ' || t.close_reason
from tasks as t
inner join enrollment_contacts as c on t.enrollment_id = c.enrollment_id
where c.contact_id = :contact_id and t.closed_at is not null
order by 2, 1

-- contact_suppressions --
select s.topic, s.reason, s.source, s.suppressed_at, s.lifted_at
from suppressions as s
inner join people as p on s.address_hash = p.address_hash
where p.contact_id = :contact_id
order by s.suppression_id

-- contact_preferences --
select kind, value, given_at
from preferences
where contact_id = :contact_id
order by preference_id

-- account_contacts --
select contact_id, role, time_zone, locale, address is not null as has_address, erased_at
from people
where account_id = :account_id
order by contact_id

-- playbooks_of_account --
select distinct playbook
from enrollments
where account_id = :account_id
order by playbook

-- gate_of_snapshot --
-- The newest gate row of one snapshot.
select gate_id, status, reasons, checks, checked_at, overridden_by, override_reason
from snapshot_gates
where snapshot_id = :snapshot_id
order by gate_id desc
limit 1

-- cited_snapshots --
-- Those that a plan, a draw, an enrollment, a send, a task or an override stands on: they are kept for ever.
select snapshot_id from plans
union
select snapshot_id from launches
union
select snapshot_id from assignments
union
select snapshot_id from enrollments
union
select snapshot_id from sends
union
select snapshot_id from tasks
union
select snapshot_id from snapshot_gates where overridden_by is not null and snapshot_id is not null
