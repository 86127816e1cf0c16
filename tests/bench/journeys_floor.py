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

from tests.bench import journeys_floor_sql as sql
from tests.bench.customers import ACCOUNT_CAP, PERSON_CAP, PLAYBOOKS, release, snapshot
from uptake.domain.windows import next_allowed

_CHUNK = 50_000
_ZONES = ("Europe/Berlin", "Europe/London", "Europe/Paris", "Asia/Tokyo", "America/New_York")


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
        self._marts.execute(sql.MARTS.format(folder=self._snapshot.directory))
        for name, (query, columns) in sql.READ.items():
            self._marts.register(name, self._read(query, columns))
        self._marts.execute(sql.SHARED)
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
        self._marts.execute(sql.CHANGES)
        self._write()
        self._ledger.execute("commit")

    def _read(self, query: str, columns: dict[str, str]) -> pa.Table:
        schema = pa.schema([(name, sql.TYPES[kind]) for name, kind in columns.items()])
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
        query = sql.ENTER.format(
            name=name,
            candidates="best"
            if teaches == "next_best"
            else f"(select contact_id, '{teaches}' as feature_key from contacts)",
            holdout=playbook.holdout,
            where=sql.WHERE[name],
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
                coalesce(nullif(plan, ''), 'unknown') || '/' || {sql.BAND} as stratum,
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
        endings = sql.ENDINGS.replace(
            "inner join enrollments using", "inner join enrollments_and_entering as enrollments using"
        )
        self._marts.execute(endings.replace("from members\n", "from members_and_entering as members\n"))
        verdicts = sql.VERDICTS.format(person_cap=PERSON_CAP, account_cap=ACCOUNT_CAP)
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
            self._insert("assignments", f"select * from ({sql.ASSIGN.format(**given)})", only=name)
            self._insert("enrollments", sql.ENROLL.format(**given))
            self._insert("enrollment_contacts", sql.INSIDE.format(**given))
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
        self._insert("decisions", sql.DECIDED.format(**constants))
        self._insert("sends", sql.PLANNED.format(**constants))

    def _insert(self, table: str, query: str, *, only: str = "") -> None:
        columns = sql.INTO[table].split()
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
