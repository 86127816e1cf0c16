"""What one tick decides for those already in: endings, and the verdict on every stage that is due.

`uptake.domain.eligibility` and `uptake.domain.enrollments` say what each step means for one contact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

import duckdb
import pyarrow as pa

from uptake.adapters.conditions_duckdb import Place
from uptake.adapters.journeys import clocks, facts, side
from uptake.domain.conditions import Condition
from uptake.domain.eligibility import Reason, effect_of
from uptake.domain.enrollments import places
from uptake.domain.playbooks import Release
from uptake.ports import Advance, ControlState

ENDINGS = pa.schema({"enrollment_id": side.INT, "contact_id": side.TEXT, "reason": side.TEXT})
ACCOUNT_ENDINGS = pa.schema({"enrollment_id": side.INT, "reason": side.TEXT})
VERDICTS = pa.schema(
    {
        "enrollment_id": side.INT, "contact_id": side.TEXT, "stage_key": side.TEXT, "verdict": side.TEXT,
        "reason": side.TEXT, "detail": side.TEXT, "version_id": side.INT, "feature_key": side.TEXT,
        "due_at": pa.timestamp("us", "UTC"),
    }
)  # fmt: skip

_STAGES = pa.schema(
    {"version_id": side.INT, "stage_key": side.TEXT, "place": side.FLOAT, "is_task": side.BOOL, "after": pa.duration("us")}
)
_PLACES = pa.schema({"version_id": side.INT, "stage_key": side.TEXT, "place": side.FLOAT})
_QUESTION = pa.schema({"v": side.INT, "k": side.TEXT})


# Every open contact of every open enrollment whose release is known.
_OPEN = """
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
_ENDINGS = """
create temp table contacts_decided as
select
    open_contacts.*,
    persons.address_hash,
    coalesce(playbook_control.action = 'stop', false) or coalesce(account_control.action = 'stop', false) as is_stopped,
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
left join exits on exits.enrollment_id = open_contacts.enrollment_id and exits.contact_id = open_contacts.contact_id
left join controls as playbook_control
    on playbook_control.scope = 'playbook' and playbook_control.target = open_contacts.playbook
left join controls as account_control
    on account_control.scope = 'account' and account_control.target = open_contacts.account_id
"""

# Where each treated contact that stays stands. `stage_key` NULL: no stage is left.
_CURSORS = """
create temp table cursors as
with
staying as (
    select * from contacts_decided
    where reason is null and arm = 'treatment'
),

ended as (
    select
        staying.enrollment_id,
        staying.contact_id,
        max(places.place) as place,
        max(stage_ends.ended_at) as ended_at
    from staying
    inner join stage_ends using (enrollment_id, contact_id)
    left join places on places.version_id = staying.version_id and places.stage_key = stage_ends.stage_key
    group by staying.enrollment_id, staying.contact_id
),

next_places as (
    select staying.enrollment_id, staying.contact_id, min(stages.place) as place
    from staying
    left join ended using (enrollment_id, contact_id)
    inner join stages on stages.version_id = staying.version_id and stages.place > coalesce(ended.place, -1)
    group by staying.enrollment_id, staying.contact_id
),

waiting as (select distinct enrollment_id, contact_id from open_sends)

select
    staying.enrollment_id, staying.contact_id, staying.account_id, staying.address_hash, staying.feature_key,
    staying.version_id, staying.playbook, staying.entry_no, staying.age_days,
    stages.stage_key, stages.place, stages.is_task,
    coalesce(ended.ended_at, staying.enrolled_at) + stages.after as due_at,
    waiting.contact_id is not null as is_waiting
from staying
left join ended using (enrollment_id, contact_id)
left join next_places using (enrollment_id, contact_id)
left join stages on stages.version_id = staying.version_id and stages.place = next_places.place
left join waiting using (enrollment_id, contact_id)
"""

_ACCOUNT_ENDINGS = """
create temp table enrollments_ending as
with
journeys as (
    select
        contacts.enrollment_id,
        bool_or(contacts.is_stopped) as is_stopped,
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
        coalesce(journeys.is_stopped or journeys.is_at_goal, false) as is_account_wide,
        case
            when journeys.is_stopped then 'stopped'
            when journeys.is_at_goal then 'goal_reached'
            when coalesce(journeys.is_done, true) then coalesce(journeys.shared_reason, 'completed')
            when enrollments.arm <> 'treatment'
                and enrollments.enrolled_at + rules.controls_complete_after <= moment.now then 'completed'
        end as reason
    from enrollments
    inner join rules using (version_id)
    left join journeys using (enrollment_id)
    cross join moment
    where enrollments.ended_at is null
)

select enrollment_id, reason, is_account_wide from decided
where reason is not null
"""

_DUE = """
create temp table due as
select cursors.*
from cursors
cross join moment
anti join enrollments_ending using (enrollment_id)
where not cursors.is_waiting and cursors.stage_key is not null and cursors.due_at <= moment.now
"""

# The order of `uptake.domain.eligibility.stage_verdict`.
_STAGE_VERDICTS = """
create temp table stage_verdicts as
with
paused as (
    select
        due.enrollment_id,
        due.contact_id,
        case
            when everything.action is not null then 'everything'
            when playbook_control.action = 'pause' then 'playbook'
            when account_control.action = 'pause' then 'account'
            when not due.is_task and sending.action is not null then 'sending'
        end as scope
    from due
    left join controls as everything on everything.scope = 'all'
    left join controls as sending on sending.scope = 'sending'
    left join controls as playbook_control
        on playbook_control.scope = 'playbook' and playbook_control.target = due.playbook
    left join controls as account_control
        on account_control.scope = 'account' and account_control.target = due.account_id
)

select
    due.*,
    rules.counts_as,
    rules.priority,
    case
        when due.due_at < moment.too_late_before then 'too_late'
        when moment.gate_held is null and whens.contact_id is not null and whens.holds is null then 'value_missing'
        when moment.gate_held is null and not whens.holds then 'condition_false'
        when paused.scope is not null then 'paused'
        when moment.gate_held is not null then 'gate_held'
        when not due.is_task and opens.opens_at > moment.now then 'outside_window'
    end as reason,
    case
        when paused.scope is not null then paused.scope
        when moment.gate_held is not null then moment.gate_held
        else strftime(opens.opens_at, '%Y-%m-%dT%H:%M:%SZ')
    end as retry_detail
from due
inner join rules using (version_id)
cross join moment
inner join paused using (enrollment_id, contact_id)
left join whens using (enrollment_id, contact_id)
left join opens using (version_id, contact_id)
"""

# The same as `uptake.domain.eligibility.settle`. Mails on their way count against caps like mails taken.
_SETTLE = """
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
        rules.person_mails - coalesce(person_touches.mails, 0) - coalesce(person_ways.mails, 0) as person_room,
        rules.account_mails - coalesce(account_touches.mails, 0) - coalesce(account_ways.mails, 0) as account_room
    from contenders
    inner join rules using (version_id)
    left join person_touches
        on person_touches.version_id = contenders.version_id and person_touches.address_hash = contenders.address_hash
    left join person_ways on person_ways.address_hash = contenders.address_hash
    left join account_touches
        on account_touches.version_id = contenders.version_id and account_touches.account_id = contenders.account_id
    left join account_ways on account_ways.account_id = contenders.account_id
),

in_account as (
    select
        *,
        row_number() over (
            partition by account_id, address_place = 1 and person_room >= 1
            order by priority, playbook, place, contact_id, enrollment_id
        ) as account_place
    from rooms
)

select
    enrollment_id,
    contact_id,
    case
        when address_place > 1 then 'priority_lost'
        when person_room < 1 then 'capped_person'
        when account_place > account_room then 'capped_account'
    end as reason,
    case when address_place > 1 then winner end as winner
from in_account
"""

_CONTACT_ENDINGS = """
select contacts.enrollment_id, contacts.contact_id, contacts.reason
from contacts_decided as contacts
left join enrollments_ending as ending using (enrollment_id)
where contacts.reason is not null and coalesce(not ending.is_account_wide, true)
order by contacts.enrollment_id, contacts.contact_id
"""

_VERDICTS = """
with
answers as (
    select
        stages.*,
        coalesce(stages.reason, settled.reason) as final_reason,
        settled.winner
    from stage_verdicts as stages
    left join settled using (enrollment_id, contact_id)
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
    answers.due_at
from answers
left join effects on effects.reason = answers.final_reason
order by answers.enrollment_id, answers.contact_id
"""


def decide(
    connection: duckdb.DuckDBPyConnection,
    releases: Mapping[int, Release],
    following: Mapping[int, int],
    read: Callable[[str, Place], Condition],
    ledger: Mapping[str, pa.Table],
    controls: ControlState,
    now: datetime,
    *,
    gate_held: str | None,
) -> Advance:
    """Decide for every open enrollment; see `uptake.ports.Journeys.advance`."""
    entered = {version_id: following.get(version_id, version_id) for version_id in releases}
    counting = {version_id: (counts_as, releases[counts_as]) for version_id, counts_as in entered.items()}
    side.lay(connection, ledger, counting, controls, now, gate_held=gate_held)
    connection.register("effects", _effects())
    _register_stages(connection, releases, counting)
    connection.execute(_OPEN)
    side.ask_persons(connection)
    _judge(connection, "exits", "open_contacts", read, "exit_when", now, _exits(counting))
    connection.execute(_ENDINGS)
    connection.execute(_CURSORS)
    connection.execute(_ACCOUNT_ENDINGS)
    connection.execute(_DUE)
    _judge(connection, "whens", "due", read, "when", now, _whens(counting))
    clocks.solve(connection, "due", {version_id: release.workspace for version_id, (_, release) in counting.items()}, now)
    connection.execute(_STAGE_VERDICTS)
    connection.execute(_SETTLE)
    return Advance(
        endings=connection.execute(_CONTACT_ENDINGS).to_arrow_table().cast(ENDINGS),
        account_endings=connection.execute("select enrollment_id, reason from enrollments_ending order by 1")
        .to_arrow_table()
        .cast(ACCOUNT_ENDINGS),
        verdicts=connection.execute(_VERDICTS).to_arrow_table().cast(VERDICTS),
    )


def _judge(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    base: str,
    read: Callable[[str, Place], Condition],
    place: Place,
    now: datetime,
    questions: Mapping[str, list[tuple[int, str | None]]],
) -> None:
    """Build `name`: what each condition says of the contacts in `base` it is asked about; one query a condition.

    `questions`: condition -> (version_id, stage_key) it belongs to; stage_key None = every row of the version.
    """
    connection.execute(f"create temp table {name} (enrollment_id bigint, contact_id varchar, holds boolean)")
    for text, places_asked in questions.items():
        asked = pa.Table.from_pylist([{"v": v, "k": k} for v, k in places_asked], schema=_QUESTION)
        connection.register("question", asked)
        only = "(base.version_id, coalesce($key, '')) in (select (v, coalesce(k, '')) from question)"
        key = "base.stage_key" if places_asked[0][1] is not None else "null"
        found = facts.matching(connection, base, read(text, place), now, only=only.replace("$key", key))
        found.select("enrollment_id, contact_id, holds").insert_into(name)


def _exits(counting: Mapping[int, tuple[int, Release]]) -> dict[str, list[tuple[int, str | None]]]:
    questions: dict[str, list[tuple[int, str | None]]] = {}
    for version_id, (_, release) in counting.items():
        if release.playbook.exit_when is not None:
            questions.setdefault(release.playbook.exit_when, []).append((version_id, None))
    return questions


def _whens(counting: Mapping[int, tuple[int, Release]]) -> dict[str, list[tuple[int, str | None]]]:
    questions: dict[str, list[tuple[int, str | None]]] = {}
    for version_id, (_, release) in counting.items():
        for key, stage in release.playbook.stages.items():
            if stage.when is not None:
                questions.setdefault(stage.when, []).append((version_id, key))
    return questions


def _register_stages(
    connection: duckdb.DuckDBPyConnection,
    releases: Mapping[int, Release],
    counting: Mapping[int, tuple[int, Release]],
) -> None:
    """Lay down the stages that count for each entered version, and the place of every key it may have passed."""
    stages, known = [], []
    for version_id, (_, release) in counting.items():
        order = list(release.playbook.stages)
        others = [
            list(other.playbook.stages)
            for _, other in sorted(releases.items(), reverse=True)
            if other.name == release.name
        ]
        known += [
            {"version_id": version_id, "stage_key": key, "place": place} for key, place in places(order, others).items()
        ]
        stages += [
            {
                "version_id": version_id,
                "stage_key": key,
                "place": place,
                "is_task": stage.task is not None,
                "after": stage.after,
            }
            for place, (key, stage) in enumerate(release.playbook.stages.items())
        ]
    connection.register("stages", pa.Table.from_pylist(stages, schema=_STAGES))
    connection.register("places", pa.Table.from_pylist(known, schema=_PLACES))


def _effects() -> pa.Table:
    return pa.table({"reason": list(map(str, Reason)), "verdict": [str(effect_of(reason)) for reason in Reason]})
