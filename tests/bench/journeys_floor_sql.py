"""The statements of `journeys_floor`, written by hand for these five playbooks."""

from __future__ import annotations

import pyarrow as pa

#: What each table is read for, and its types.
READ = {
    "people": (
        "select contact_id, account_id, address_hash, time_zone, address is not null from people",
        {"contact_id": "s", "account_id": "s", "address_hash": "s", "time_zone": "s", "has_address": "b"},
    ),
    "suppressions": (
        "select address_hash from suppressions where suppressed_at is not null and topic in ('', 'training')",
        {"address_hash": "s"},
    ),
    "refusals": ("select distinct address_hash from consents where basis = 'none'", {"address_hash": "s"}),
    "enrollments": (
        "select enrollment_id, playbook, account_id, arm, enrolled_at from enrollments where status = 'open'",
        {"enrollment_id": "i", "playbook": "s", "account_id": "s", "arm": "s", "enrolled_at": "t"},
    ),
    "members": (
        "select enrollment_id, contact_id, feature_key from enrollment_contacts where status = 'open'",
        {"enrollment_id": "i", "contact_id": "s", "feature_key": "s"},
    ),
    "sends": (
        "select enrollment_id, contact_id, address_hash, account_id, status, accepted_at from sends",
        {"enrollment_id": "i", "contact_id": "s", "address_hash": "s", "account_id": "s", "status": "s",
         "accepted_at": "t"},
    ),
    "current": (
        "select enrollment_id, contact_id, stage_key, verdict, reason, version_id from decisions"
        " where superseded_at is null",
        {"enrollment_id": "i", "contact_id": "s", "stage_key": "s", "verdict": "s", "reason": "s", "version_id": "i"},
    ),
}  # fmt: skip
TYPES = {"s": pa.string(), "i": pa.int64(), "b": pa.bool_(), "t": pa.timestamp("us")}

MARTS = """
create temp view accounts as
select account_id, plan, seats, age_days, churned, is_internal, count_open_tickets, adoption_breadth,
    days_since_last_use, seats_used_share, count_power_users
from '{folder}/accounts_current.parquet';
create temp view contacts as
select contact_id, account_id, role, time_zone, active_days_28, days_since_last_use
from '{folder}/contacts_current.parquet';
create temp view features as
select account_id, feature_key, is_entitled, adoption_state from '{folder}/account_features.parquet';
create temp view own as select contact_id, feature_key, adoption_state from '{folder}/contact_features.parquet';
create temp view best as
select contact_id, feature_key from '{folder}/feature_recommendations.parquet' where recommendation_rank = 1;
create temp view zones as select account_id, time_zone from '{folder}/dim_accounts.parquet';
create temp macro draw(playbook, account_id) as
    ('0x' || substr(sha256(playbook || ':' || account_id), 1, 15))::bigint / 1152921504606846976.0::double;
"""

#: Of all addresses, once for every playbook: those of two accounts.
SHARED = """
create temp table shared as
select people.address_hash, people.account_id, people.contact_id
from people semi join (
    select address_hash from people where address_hash is not null
    group by address_hash having min(account_id) <> max(account_id)
) using (address_hash)
"""

ENTER = """
select
    contact.contact_id, account.account_id, candidate.feature_key, account.plan, account.seats,
    draw('{name}', account.account_id) as u,
    row_number() over (
        partition by account.account_id
        order by case contact.role when 'admin' then 0 when 'manager' then 1 else 2 end,
            contact.active_days_28 desc, contact.contact_id
    ) as contact_rank
from contacts as contact
inner join {candidates} as candidate on candidate.contact_id = contact.contact_id
inner join accounts as account on account.account_id = contact.account_id
left join features as account_feature
    on account_feature.account_id = contact.account_id and account_feature.feature_key = candidate.feature_key
left join own as feature on feature.contact_id = contact.contact_id and feature.feature_key = candidate.feature_key
inner join people on people.contact_id = contact.contact_id
anti join (select account_id from enrollments where playbook = '{name}') as inside
    on inside.account_id = account.account_id
anti join suppressions on suppressions.address_hash = people.address_hash
anti join refusals on refusals.address_hash = people.address_hash
anti join (
    select mine.contact_id from shared as mine
    inner join shared as other using (address_hash)
    where mine.account_id <> other.account_id and draw('{name}', other.account_id) < {holdout}
) as held on held.contact_id = contact.contact_id
where ({where})
    and not account.churned and not account.is_internal and account.count_open_tickets = 0 and account.age_days >= 14
    and account_feature.is_entitled and people.has_address and people.address_hash is not null
    and coalesce({goal}.adoption_state, 'never') <> 'adopted'
qualify contact_rank <= {most}
"""
WHERE = {
    "reports": """account.plan in ('team', 'business', 'enterprise') and account_feature.is_entitled
        and account_feature.adoption_state <> 'adopted' and contact.active_days_28 >= 4
        and coalesce(feature.adoption_state, 'never') in ('never', 'tried', 'lapsed')""",
    "breadth": """account.adoption_breadth < 0.9 and account.days_since_last_use <= 14
        and contact.days_since_last_use <= 28 and coalesce(feature.adoption_state, 'never') <> 'adopted'
        and account_feature.is_entitled and account_feature.adoption_state <> 'adopted'""",
    "lapsed": "account_feature.adoption_state <> 'adopted' and contact.active_days_28 >= 2",
    "onboarding": """account.age_days <= 995 and account_feature.adoption_state <> 'adopted'
        and contact.days_since_last_use <= 28""",
    "power": """account.seats_used_share >= 0.02 and account.count_power_users >= 1 and account_feature.is_entitled
        and coalesce(feature.adoption_state, 'never') <> 'adopted'""",
}

ENDINGS = """
create temp table standing as
select
    members.enrollment_id, members.contact_id, members.feature_key, enrollments.playbook, enrollments.account_id,
    enrollments.arm, enrollments.enrolled_at, people.address_hash,
    enrollments.playbook <> 'lapsed' and coalesce(features.adoption_state = 'adopted', false) as is_account_at_goal,
    features.adoption_state as account_state, coalesce(own.adoption_state, 'never') as own_state,
    case
        when enrollments.playbook = 'lapsed' and own.adoption_state = 'adopted' then 'goal_reached'
        when enrollments.playbook in ('reports', 'breadth') and accounts.churned then 'exit_condition'
        when suppressions.address_hash is not null then 'suppressed'
        when refusals.address_hash is not null then 'unconsented'
        when not people.has_address or contacts.contact_id is null then 'left'
        when held.contact_id is not null then 'holdout_address'
    end as reason
from members
inner join enrollments using (enrollment_id)
left join people on people.contact_id = members.contact_id
left join contacts on contacts.contact_id = members.contact_id
left join accounts on accounts.account_id = enrollments.account_id
left join features
    on features.account_id = enrollments.account_id and features.feature_key = members.feature_key
left join own on own.contact_id = members.contact_id and own.feature_key = members.feature_key
left join suppressions on suppressions.address_hash = people.address_hash
left join refusals on refusals.address_hash = people.address_hash
left join (
    select distinct mine.contact_id, playbooks.playbook from shared as mine
    inner join shared as other using (address_hash)
    cross join playbooks
    where mine.account_id <> other.account_id and draw(playbooks.playbook, other.account_id) < playbooks.holdout
) as held on held.contact_id = members.contact_id and held.playbook = enrollments.playbook;

create temp table endings as
select
    enrollment_id,
    bool_or(is_account_at_goal) as is_at_goal,
    case
        when bool_or(is_account_at_goal) then 'goal_reached'
        when min(reason) = max(reason) then min(reason)
        else 'completed'
    end as reason
from standing
group by enrollment_id
having bool_or(is_account_at_goal) or bool_and(reason is not null);
"""

VERDICTS = """
create temp table verdicts as
with
passed as (
    select enrollment_id, contact_id, count(*) as stages, max(accepted_at) as ended_at, bool_or(status <> 'accepted')
        as is_open
    from sends group by enrollment_id, contact_id
),

due as (
    select
        standing.*, stages.stage_key, stages.place, playbooks.priority, playbooks.version_id, openings.opens_at,
        coalesce(passed.ended_at, standing.enrolled_at) + stages.after as due_at,
        case
            when standing.playbook = 'reports' and stages.place = 1 and own_state = 'tried' then 'condition_false'
            when openings.opens_at > $now then 'outside_window'
        end as why
    from standing
    anti join endings using (enrollment_id)
    inner join playbooks on playbooks.playbook = standing.playbook
    left join passed using (enrollment_id, contact_id)
    inner join stages on stages.playbook = standing.playbook and stages.place = coalesce(passed.stages, 0)
    left join people on people.contact_id = standing.contact_id
    left join contacts on contacts.contact_id = standing.contact_id
    left join zones on zones.account_id = standing.account_id
    inner join openings
        on openings.zone = coalesce(people.time_zone, contacts.time_zone, zones.time_zone, 'Europe/Berlin')
    where standing.reason is null and standing.arm = 'treatment' and not coalesce(passed.is_open, false)
        and coalesce(passed.ended_at, standing.enrolled_at) + stages.after <= $now
),

touches as (
    select address_hash, count(*) as mails, max(accepted_at) > $now - interval 30 minute as is_just_now from sends
    where status = 'accepted' and accepted_at > $now - interval 7 day group by address_hash
),

account_touches as (
    select account_id, count(*) as mails from sends
    where status = 'planned' or accepted_at > $now - interval 7 day group by account_id
),

on_their_way as (
    select people.address_hash, count(*) as mails from sends inner join people using (contact_id)
    where status = 'planned' group by people.address_hash
),

contenders as (
    select
        due.*, row_number() over by_address as address_place,
        first_value(due.playbook || '/' || stage_key || '/' || due.contact_id) over by_address as winner,
        on_their_way.mails is not null or coalesce(touches.is_just_now, false) as is_just_mailed,
        {person_cap} - coalesce(touches.mails, 0) - coalesce(on_their_way.mails, 0) as person_room,
        {account_cap} - coalesce(account_touches.mails, 0) as account_room
    from due
    left join touches on touches.address_hash = due.address_hash
    left join on_their_way on on_their_way.address_hash = due.address_hash
    left join account_touches on account_touches.account_id = due.account_id
    where why is null
    window by_address as (
        partition by due.address_hash order by priority, due.playbook, place, due.contact_id, enrollment_id
    )
),

settled as (
    select
        *,
        row_number() over (
            partition by account_id, address_place = 1 and not is_just_mailed and person_room >= 1
            order by priority, playbook, place, contact_id, enrollment_id
        ) as account_place
    from contenders
),

answers as (
    select
        enrollment_id, contact_id, playbook, account_id, feature_key, stage_key, version_id, due_at,
        case
            when address_place > 1 or is_just_mailed then 'priority_lost'
            when person_room < 1 then 'capped_person'
            when account_place > account_room then 'capped_account'
        end as reason,
        case when address_place > 1 and not is_just_mailed then winner else '' end as detail
    from settled
    union all
    select
        enrollment_id, contact_id, playbook, account_id, feature_key, stage_key, version_id, due_at, why,
        case when why = 'outside_window' then strftime(opens_at, '%Y-%m-%dT%H:%M:%SZ') else '' end
    from due where why is not null
)

select
    *,
    case when reason is null then 'send' when reason = 'condition_false' then 'pass_over' else 'retry' end as verdict
from answers
"""

CHANGES = """
create temp table changes as
select enrollment_id, contact_id, stage_key, verdicts.verdict, verdicts.reason, verdicts.detail, verdicts.version_id,
    current.enrollment_id is not null as is_known
from verdicts
left join current using (enrollment_id, contact_id, stage_key)
where current.enrollment_id is null or current.verdict <> verdicts.verdict
    or current.reason is distinct from verdicts.reason
union all
select current.enrollment_id, current.contact_id, current.stage_key, 'end',
    coalesce(endings.reason, standing.reason), '', current.version_id, true
from current
inner join standing using (enrollment_id, contact_id)
left join endings using (enrollment_id)
where current.verdict = 'retry' and (endings.enrollment_id is not null or standing.reason is not null)
"""

ASSIGN = """
select '{name}', account_id, arm, min(u), min(stratum), '{snapshot}', '{now}' from entering group by all order by 2
"""
ENROLL = """
select enrollment_id, playbook, account_id, 1, {version}, arm, min(stratum), 'match', '', '{snapshot}', {gate},
    '{now}', 'adopted', '{by}', '{until}', 'open'
from entering where playbook = '{name}' group by all order by 1
"""
INSIDE = """
select enrollment_id, contact_id, contact_rank, feature_key, 'open'
from entering where playbook = '{name}' order by 1, 2
"""
DECIDED = """
select enrollment_id, contact_id, stage_key, verdict, reason, detail, version_id, '{snapshot}', {gate}, {run}, '{now}'
from changes order by 1, 2
"""
PLANNED = """
select
    substr(sha256('key' || playbook || account_id || stage_key || contact_id), 1, 32), enrollment_id, stage_key,
    contact_id, playbook, account_id, version_id, '{snapshot}', {gate}, {run}, 'sha', 'template', 'treatment',
    feature_key, 'planned', '', strftime(due_at, '%Y-%m-%d %H:%M:%S.%f'), '{now}', 0, '{now}'
from verdicts where verdict = 'send' order by 2, 4
"""
INTO = {
    "assignments": "playbook account_id arm u stratum snapshot_id assigned_at",
    "enrollments": "enrollment_id playbook account_id entry_no version_id arm stratum entered_by entry_reason"
    " snapshot_id gate_id enrolled_at goal_reach goal_by window_ends_at status",
    "enrollment_contacts": "enrollment_id contact_id contact_rank feature_key status",
    "decisions": "enrollment_id contact_id stage_key verdict reason detail version_id snapshot_id gate_id run_id"
    " decided_at",
    "sends": "send_id enrollment_id stage_key contact_id playbook account_id version_id snapshot_id gate_id run_id"
    " git_sha template_hash arm feature_key status detail due_at planned_at attempt updated_at",
}
BAND = """
case when seats <= 10 then '1-10' when seats <= 50 then '11-50' when seats <= 200 then '51-200'
    when seats <= 1000 then '201-1000' else '1001+' end
"""
