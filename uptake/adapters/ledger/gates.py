"""The gate's verdict on each candidate snapshot: no passed row, no mail."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from uptake.adapters.ledger.schema import snapshot_gates
from uptake.adapters.ledger.store import Store
from uptake.ports import Check, Status


class SqlGates:
    """`uptake.ports.Gates` on SQL."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def record(
        self,
        *,
        snapshot_id: str | None,
        status: Status,
        checks: Sequence[Check],
        reasons: Sequence[str],
        as_of: datetime | None,
        now: datetime,
        overridden_by: str | None = None,
        override_reason: str | None = None,
    ) -> int:
        """Record one verdict; return its gate_id. An override is a passed row that keeps what had failed."""
        row = {
            "snapshot_id": snapshot_id,
            "status": status,
            "checks": json.dumps([asdict(check) for check in checks]),
            "reasons": json.dumps(list(reasons)),
            "as_of": as_of,
            "checked_at": now,
            "overridden_by": overridden_by,
            "override_reason": override_reason,
        }
        with self._store.write() as connection:
            query = sa.insert(snapshot_gates).values(**row).returning(snapshot_gates.c.gate_id)
            gate_id: int = connection.execute(query).scalar_one()
        return gate_id

    def passed(self, snapshot_id: str) -> int | None:
        """Return the gate_id of the newest row of this snapshot if it passed, or was let pass."""
        newest = self._newest(snapshot_gates.c.snapshot_id == snapshot_id)
        return int(newest["gate_id"]) if newest and newest["status"] == "passed" else None

    def latest(self) -> Mapping[str, Any] | None:
        """Return the newest row, of any snapshot, as `of` does but without its checks."""
        return self._newest(sa.true())

    def of(self, snapshot_id: str) -> Mapping[str, Any] | None:
        """Return the newest row of a snapshot: gate_id, snapshot_id, status, reasons, checks (`Check`s), as_of,
        checked_at, overridden_by, override_reason.
        """
        found = self._newest(snapshot_gates.c.snapshot_id == snapshot_id, snapshot_gates.c.checks)
        if found is None:
            return None
        return {**found, "checks": _checks(found["checks"])}

    def let_pass(self) -> Mapping[str, frozenset[str]]:
        """Return the names of the checks that a person let pass, by snapshot_id."""
        query = sa.select(snapshot_gates.c.snapshot_id, snapshot_gates.c.checks).where(
            snapshot_gates.c.overridden_by.is_not(None)
        )
        found: dict[str, frozenset[str]] = {}
        with self._store.read() as connection:
            for snapshot_id, checks in connection.execute(query):
                names = frozenset(check.name for check in _checks(checks) if check.blocks)
                found[snapshot_id] = found.get(snapshot_id, frozenset()) | names
        return found

    def _newest(self, condition: sa.ColumnElement[bool], *more: sa.ColumnElement[Any]) -> Mapping[str, Any] | None:
        columns = [column for column in snapshot_gates.c if column.name != "checks"]
        query = sa.select(*columns, *more).where(condition).order_by(snapshot_gates.c.gate_id.desc()).limit(1)
        with self._store.read() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else {**row._mapping, "reasons": json.loads(row.reasons)}


def _checks(text: str) -> tuple[Check, ...]:
    return tuple(Check(**{**check, "rows": tuple(check.get("rows", ()))}) for check in json.loads(text))
