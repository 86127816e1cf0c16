"""Tasks: what a person is to do, and how they say that it is over."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import sqlalchemy as sa

from uptake.adapters.ledger.schema import OPEN, tasks
from uptake.adapters.ledger.store import Store
from uptake.domain.enrollments import LATEST
from uptake.errors import Refused


class SqlTasks:
    """`uptake.ports.Tasks` on SQL."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def close(self, task_id: int, *, outcome: Literal["done", "declined"], reason: str, by: str, now: datetime) -> None:
        """Close an open task; the same words again change nothing. Raises Refused."""
        with self._store.write() as connection:
            row = connection.execute(sa.select(tasks).where(tasks.c.task_id == task_id)).one_or_none()
            if row is None:
                raise Refused(f"there is no task {task_id}; `uptake tasks` lists the open ones")
            if (row.status, row.close_reason, row.closed_by) == (outcome, reason, by):
                return
            if row.status != OPEN:
                raise Refused(
                    f"task {task_id} is {row.status} since {row.closed_at:%Y-%m-%d %H:%M}, by {row.closed_by}"
                )
            # A journey that went on without it is not held up again by somebody's late answer.
            ended_at = min(now, row.due_at + LATEST)
            closed = {"status": outcome, "close_reason": reason, "closed_by": by, "closed_at": now}
            connection.execute(sa.update(tasks).where(tasks.c.task_id == task_id).values(**closed, ended_at=ended_at))
