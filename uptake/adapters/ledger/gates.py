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
    ) -> int:
        """Record one verdict; return its gate_id."""
        row = {
            "snapshot_id": snapshot_id,
            "status": status,
            "checks": json.dumps([asdict(check) for check in checks]),
            "reasons": json.dumps(list(reasons)),
            "as_of": as_of,
            "checked_at": now,
        }
        with self._store.write() as connection:
            query = sa.insert(snapshot_gates).values(**row).returning(snapshot_gates.c.gate_id)
            gate_id: int = connection.execute(query).scalar_one()
        return gate_id

    def passed(self, snapshot_id: str) -> int | None:
        """Return the gate_id of the newest row of this snapshot if it passed."""
        newest = self._newest(snapshot_gates.c.snapshot_id == snapshot_id)
        return int(newest["gate_id"]) if newest and newest["status"] == "passed" else None

    def latest(self) -> Mapping[str, Any] | None:
        """Return the newest row: gate_id, snapshot_id, status, reasons, checked_at."""
        return self._newest(sa.true())

    def _newest(self, condition: sa.ColumnElement[bool]) -> Mapping[str, Any] | None:
        table = snapshot_gates
        query = sa.select(table.c.gate_id, table.c.snapshot_id, table.c.status, table.c.reasons, table.c.checked_at)
        query = query.where(condition).order_by(table.c.gate_id.desc()).limit(1)
        with self._store.read() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else {**row._mapping, "reasons": json.loads(row.reasons)}
