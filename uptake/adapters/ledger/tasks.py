"""Tasks: what a person is to do, and how they say that it is over."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import sqlalchemy as sa

from uptake.adapters.ledger.schema import OPEN, task_posts, tasks
from uptake.adapters.ledger.store import Store
from uptake.adapters.ledger.upsert import insert_new
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

    def note_posts(self, posts: Sequence[tuple[int, str]], *, now: datetime) -> None:
        """Note what the task webhook is to be told: (task_id, event)."""
        rows = [{"task_id": task_id, "event": event, "noted_at": now} for task_id, event in posts]
        if rows:
            with self._store.write() as connection:
                connection.execute(insert_new(connection, task_posts), rows)

    def end_post(self, task_id: int, event: str, *, trouble: str | None, now: datetime) -> None:
        """Say that one was taken, or why not."""
        row = task_posts.c
        ended = {"posted_at": None if trouble else now, "trouble": trouble}
        with self._store.write() as connection:
            is_it = (row.task_id == task_id) & (row.event == event)
            connection.execute(sa.update(task_posts).where(is_it).values(**ended))

    def drop_posts(self) -> None:
        """Forget what is still to be told: there is nobody to tell it to any more."""
        with self._store.write() as connection:
            connection.execute(sa.delete(task_posts).where(task_posts.c.posted_at.is_(None)))
