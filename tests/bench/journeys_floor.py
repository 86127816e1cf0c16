"""Plans and ticks the plain way: one script of DuckDB over the same files and the same ledger, written for these five
playbooks. It knows what the engine has to find out: which stages there are, that nothing is paused, held or edited.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from tests.bench.customers import ACCOUNT_CAP, PERSON_CAP, PLAYBOOKS, release, snapshot
from uptake.domain.windows import next_allowed

_CHUNK = 50_000
_ZONES = ("Europe/Berlin", "Europe/London", "Europe/Paris", "Asia/Tokyo", "America/New_York")
#: What each table is read for, and its types.
_READ = {
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
_TYPES = {"s": pa.string(), "i": pa.int64(), "b": pa.bool_(), "t": pa.timestamp("us")}

_MARTS = """
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
_SHARED = """
create temp table shared as
select people.address_hash, people.account_id, people.contact_id
from people semi join (
    select address_hash from people where address_hash is not null
    group by address_hash having min(account_id) <> max(account_id)
) using (address_hash)
"""

_ENTER = """
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
_WHERE = {
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

_ENDINGS = """
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

_VERDICTS = """
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

_CHANGES = """
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

_ASSIGN = """
select '{name}', account_id, arm, min(u), min(stratum), '{snapshot}', '{now}' from entering group by all order by 2
"""
_ENROLL = """
select enrollment_id, playbook, account_id, 1, {version}, arm, min(stratum), 'match', '', '{snapshot}', {gate},
    '{now}', 'adopted', '{by}', '{until}', 'open'
from entering where playbook = '{name}' group by all order by 1
"""
_INSIDE = """
select enrollment_id, contact_id, contact_rank, feature_key, 'open'
from entering where playbook = '{name}' order by 1, 2
"""
_DECIDED = """
select enrollment_id, contact_id, stage_key, verdict, reason, detail, version_id, '{snapshot}', {gate}, {run}, '{now}'
from changes order by 1, 2
"""
_PLANNED = """
select
    substr(sha256('key' || playbook || account_id || stage_key || contact_id), 1, 32), enrollment_id, stage_key,
    contact_id, playbook, account_id, version_id, '{snapshot}', {gate}, {run}, 'sha', 'template', 'treatment',
    feature_key, 'planned', '', strftime(due_at, '%Y-%m-%d %H:%M:%S.%f'), '{now}', 0, '{now}'
from verdicts where verdict = 'send' order by 2, 4
"""
_INTO = {
    "assignments": "playbook account_id arm u stratum snapshot_id assigned_at",
    "enrollments": "enrollment_id playbook account_id entry_no version_id arm stratum entered_by entry_reason"
    " snapshot_id gate_id enrolled_at goal_reach goal_by window_ends_at status",
    "enrollment_contacts": "enrollment_id contact_id contact_rank feature_key status",
    "decisions": "enrollment_id contact_id stage_key verdict reason detail version_id snapshot_id gate_id run_id"
    " decided_at",
    "sends": "send_id enrollment_id stage_key contact_id playbook account_id version_id snapshot_id gate_id run_id"
    " git_sha template_hash arm feature_key status detail due_at planned_at attempt updated_at",
}
_BAND = """
case when seats <= 10 then '1-10' when seats <= 50 then '11-50' when seats <= 200 then '51-200'
    when seats <= 1000 then '201-1000' else '1001+' end
"""


class Floor:
    """One look at the files and the ledger; then plans or a tick."""

    def __init__(self, folder: Path, ledger: Path, *, day: int, now: datetime) -> None:
        self._now, self._snapshot = now, snapshot(folder, day)
        self._ledger = sqlite3.connect(ledger, isolation_level=None)
        for pragma in ("synchronous = full", "foreign_keys = on", "temp_store = memory", "cache_size = -65536"):
            self._ledger.execute(f"pragma {pragma}")
        self._ledger.execute("begin immediate")
        self._marts = duckdb.connect()
        self._marts.execute("set threads to 2; set timezone to 'UTC'")
        self._marts.execute(_MARTS.format(folder=self._snapshot.directory))
        for name, (query, columns) in _READ.items():
            self._marts.register(name, self._read(query, columns))
        self._marts.execute(_SHARED)
        self._lay_rules()

    def plan(self) -> dict[str, Any]:
        """Store a plan of each playbook with everybody it would take in; return how many, and what would be decided."""
        found = {}
        for name in sorted(PLAYBOOKS):
            self._enter(name)
            entrants = self._marts.sql(
                f"""select to_json(list([account_id, contact_id, arm])), count(distinct account_id), count(*)
                from entering where playbook = '{name}'"""
            ).fetchall()[0]
            self._decide()
            verdicts = self._marts.sql(
                f"""select verdict || coalesce(':' || reason, ''), count(*) from verdicts semi join entering
                using (enrollment_id) where playbook = '{name}' group by all order by 1"""
            ).fetchall()
            found[name] = [*entrants[1:], dict(verdicts)]
            self._ledger.execute(
                "insert into plans (plan_id, playbook, version_id, release_hash, plan_hash, snapshot_id, planned_at,"
                " count_accounts, count_contacts, summary) values (?, ?, ?, '', '', ?, ?, ?, ?, ?)",
                (
                    *(f"{name}-{self._now}", name, self._versions[name], self._snapshot.snapshot_id, str(self._now)),
                    *(entrants[1], entrants[2], json.dumps({"first_tick": dict(verdicts), "entrants": entrants[0]})),
                ),
            )
            self._marts.execute("drop view enrollments_and_entering; drop view members_and_entering")
            self._marts.execute("drop table entering; drop table verdicts; drop table standing; drop table endings")
        self._ledger.execute("commit")
        return found

    def tick(self) -> None:
        """Enter and decide, and write it down."""
        for name in sorted(PLAYBOOKS):
            self._enter(name)
        self._decide()
        self._marts.execute(_CHANGES)
        self._write()
        self._ledger.execute("commit")

    def _read(self, query: str, columns: dict[str, str]) -> pa.Table:
        schema = pa.schema([(name, _TYPES[kind]) for name, kind in columns.items()])
        cursor = self._ledger.execute(query)
        batches = []
        while rows := cursor.fetchmany(_CHUNK):
            arrays = [_array(values, field.type) for values, field in zip(zip(*rows, strict=True), schema, strict=True)]
            batches.append(pa.RecordBatch.from_arrays(arrays, schema=schema))
        return pa.Table.from_batches(batches, schema=schema)

    def _lay_rules(self) -> None:
        self._versions = dict(
            self._ledger.execute("select playbook, max(version_id) from playbook_versions group by 1")
        )
        rules, stages = [], []
        for name in PLAYBOOKS:
            one = release(name)
            rules.append((name, one.playbook.priority, one.playbook.holdout, self._versions[name]))
            stages += [(name, key, at, stage.after) for at, (key, stage) in enumerate(one.playbook.stages.items())]
        workspace = one.workspace
        naive = self._now.astimezone(UTC).replace(tzinfo=None)
        opens = [
            (zone, next_allowed(self._now, zone, workspace.window, workspace.holidays).astimezone(UTC))
            for zone in _ZONES
        ]
        self._marts.register("playbooks", _table(rules, "playbook", "priority", "holdout", "version_id"))
        self._marts.register("stages", _table(stages, "playbook", "stage_key", "place", "after"))
        self._marts.register(
            "openings", _table([(zone, at.replace(tzinfo=None)) for zone, at in opens], "zone", "opens_at")
        )
        self._parameters = {"now": naive}
        self._constants = {
            "snapshot": self._snapshot.snapshot_id,
            "now": f"{naive:%Y-%m-%d %H:%M:%S.%f}",
            "gate": self._ledger.execute("select max(gate_id) from snapshot_gates").fetchone()[0],
        }

    def _enter(self, name: str) -> None:
        playbook = release(name).playbook
        teaches = playbook.teaches
        query = _ENTER.format(
            name=name,
            candidates="best"
            if teaches == "next_best"
            else f"(select contact_id, '{teaches}' as feature_key from contacts)",
            holdout=playbook.holdout,
            where=_WHERE[name],
            goal="feature" if playbook.goal.by == "contact" else "account_feature",
            most=playbook.audience.contacts.max_per_account,
        )
        before = "(select coalesce(max(enrollment_id), 0) from known)"
        new = not self._marts.sql("select 1 from duckdb_tables() where table_name = 'entering'").fetchall()
        if new:
            self._marts.execute("create or replace temp table known as select enrollment_id from enrollments")
        self._marts.execute(
            f"""{"create temp table entering as" if new else "insert into entering"}
            select '{name}' as playbook, account_id, contact_id, contact_rank, feature_key, u,
                case when u < {playbook.holdout} then 'holdout' else 'treatment' end as arm,
                coalesce(nullif(plan, ''), 'unknown') || '/' || {_BAND} as stratum,
                {before} + dense_rank() over (order by account_id) as enrollment_id
            from ({query})"""
        )
        self._marts.execute(f"insert into known select distinct enrollment_id from entering where playbook = '{name}'")

    def _decide(self) -> None:
        self._marts.execute(
            """create or replace temp view enrollments_and_entering as
            select * from enrollments union all
            select distinct enrollment_id, playbook, account_id, arm, $now from entering""".replace(
                "$now", f"timestamp '{self._constants['now']}'"
            )
        )
        self._marts.execute(
            """create or replace temp view members_and_entering as
            select * from members union all select enrollment_id, contact_id, feature_key from entering"""
        )
        endings = _ENDINGS.replace(
            "inner join enrollments using", "inner join enrollments_and_entering as enrollments using"
        )
        self._marts.execute(endings.replace("from members\n", "from members_and_entering as members\n"))
        verdicts = _VERDICTS.format(person_cap=PERSON_CAP, account_cap=ACCOUNT_CAP)
        self._marts.execute(verdicts, self._parameters)

    def _write(self) -> None:
        self._ledger.execute(
            "insert into runs (kind, fence, owner, status, detail, started_at, heartbeat_at, lease_until_at)"
            " select 'tick', coalesce(max(fence), 0) + 1, 'floor', 'done', '', ?, ?, ? from runs",
            (self._constants["now"],) * 3,
        )
        constants = self._constants | {"run": self._ledger.execute("select max(run_id) from runs").fetchone()[0]}
        for name in sorted(PLAYBOOKS):
            playbook = release(name).playbook
            until = (self._now + playbook.measured_for).astimezone(UTC).replace(tzinfo=None)
            given = constants | {"name": name, "version": self._versions[name], "by": playbook.goal.by}
            given |= {"until": f"{until:%Y-%m-%d %H:%M:%S.%f}"}
            self._insert("assignments", f"select * from ({_ASSIGN.format(**given)})", only=name)
            self._insert("enrollments", _ENROLL.format(**given))
            self._insert("enrollment_contacts", _INSIDE.format(**given))
        self._many(
            "update enrollment_contacts set status = 'ended', ended_at = ?, end_reason = ?"
            " where enrollment_id = ? and contact_id = ?",
            """select $now, coalesce(endings.reason, standing.reason), enrollment_id, contact_id
            from standing left join endings using (enrollment_id)
            where endings.enrollment_id is not null or standing.reason is not null order by 3, 4""",
        )
        self._many(
            "update enrollments set status = 'ended', ended_at = ?, end_reason = ? where enrollment_id = ?",
            "select $now, reason, enrollment_id from endings order by 3",
        )
        self._many(
            "update decisions set superseded_at = ? where enrollment_id = ? and contact_id = ? and stage_key = ?"
            " and superseded_at is null",
            "select $now, enrollment_id, contact_id, stage_key from changes where is_known order by 2, 3",
        )
        self._insert("decisions", _DECIDED.format(**constants))
        self._insert("sends", _PLANNED.format(**constants))

    def _insert(self, table: str, query: str, *, only: str = "") -> None:
        columns = _INTO[table].split()
        if only:
            query = query.replace("from entering", f"from entering where playbook = '{only}'")
        statement = f"insert into {table} ({', '.join(columns)}) values ({', '.join('?' * len(columns))})"
        self._many(statement, query)

    def _many(self, statement: str, query: str) -> None:
        for rows in _batches(self._marts.sql(query.replace("$now", f"'{self._constants['now']}'"))):
            self._ledger.executemany(statement, rows)


def _batches(found: duckdb.DuckDBPyRelation) -> Iterator[list[tuple[Any, ...]]]:
    while rows := found.fetchmany(_CHUNK):
        yield rows


def _array(values: tuple[Any, ...], kind: pa.DataType) -> pa.Array:
    if pa.types.is_timestamp(kind):
        return pa.array(values, pa.string()).cast(kind)
    if pa.types.is_boolean(kind):
        return pa.array(values, pa.int64()).cast(kind)
    return pa.array(values, kind)


def _table(rows: list[tuple[Any, ...]], *names: str) -> pa.Table:
    return pa.table(dict(zip(names, (list(column) for column in zip(*rows, strict=True)), strict=True)))
