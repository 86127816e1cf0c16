"""Single flight, by a fenced row: only the run with the newest fence of its kind may write."""

from __future__ import annotations

import os
from datetime import datetime, timedelta

import sqlalchemy as sa

from uptake.adapters.ledger.schema import runs
from uptake.adapters.ledger.store import Store
from uptake.adapters.ledger.upsert import insert_new
from uptake.errors import Held
from uptake.ports import Run

RUNNING = "running"
_SKEW = timedelta(hours=1)  # by which the clocks of two machines differ at most


_CHANGE = sa.update(runs).where(runs.c.run_id == sa.bindparam("key"), runs.c.status == RUNNING)
_OF_KIND = runs.c.kind == sa.bindparam("of_kind")
_NEWEST = (
    sa.select(runs.c.run_id, runs.c.fence, runs.c.status, runs.c.lease_until_at, runs.c.owner)
    .where(_OF_KIND)
    .order_by(runs.c.fence.desc())
    .limit(1)
)
_HELD = sa.select(runs.c.run_id).where(runs.c.run_id == sa.bindparam("key"))
_FENCE = sa.select(sa.func.max(runs.c.fence)).where(_OF_KIND)
_HEARTBEAT = sa.select(sa.func.max(runs.c.heartbeat_at)).where(_OF_KIND)


class SqlRuns:
    """`uptake.ports.Runs` on SQL."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def begin(self, kind: str, *, owner: str, now: datetime, lease: timedelta) -> Run | None:
        """Take the fence; None while another run of this kind is alive."""
        with self._store.write() as connection:
            newest = connection.execute(_NEWEST, {"of_kind": kind}).one_or_none()
            if newest is not None and not _lock(connection, newest.run_id):
                return None  # it is writing at this moment: nobody waits for a transaction as long as a tick's
            # A lease that ends later than any given now comes from a clock that was put back since.
            ends = now if newest is None else newest.lease_until_at
            is_alive = newest is not None and newest.status == RUNNING and now < ends <= now + lease + _SKEW
            if newest is not None and is_alive and not _is_gone(newest.owner, owner):
                return None
            fence = 1 if newest is None else newest.fence + 1
            row = {"kind": kind, "fence": fence, "owner": owner, "status": RUNNING, "detail": ""}
            times = {"started_at": now, "heartbeat_at": now, "lease_until_at": now + lease}
            # Two first runs of a kind find no row to lock: the unique key lets one of them in.
            run_id = connection.execute(
                insert_new(connection, runs).values(**row, **times).returning(runs.c.run_id)
            ).scalar()
        return None if run_id is None else Run(run_id=run_id, kind=kind, fence=fence)

    def heartbeat(self, run: Run, *, now: datetime, lease: timedelta) -> None:
        """Live on for another lease. Raises Held when a newer run has taken over."""
        with self._store.write() as connection:
            check_fence(connection, run)
            beat = {"heartbeat_at": now, "lease_until_at": now + lease}
            connection.execute(_CHANGE, {"key": run.run_id, **beat})

    def finish(self, run: Run, *, status: str, detail: str, now: datetime) -> None:
        """Record how a run ended; the fence is free at once."""
        with self._store.write() as connection:
            end = {"status": status, "detail": detail, "finished_at": now, "heartbeat_at": now}
            connection.execute(_CHANGE, {"key": run.run_id, **end})

    def last_heartbeat(self, kind: str) -> datetime | None:
        """Return when a run of this kind was last seen alive."""
        with self._store.read() as connection:
            last: datetime | None = connection.scalar(_HEARTBEAT, {"of_kind": kind})
        return last


def _is_gone(other: str, owner: str) -> bool:
    """Say whether `other` was a process of this owner's machine and certainly runs no more; both are `host:pid`.

    A wrong guess (machines that share a name) costs nothing but a tick: the fence keeps the older one from writing.
    """
    host, _, pid = other.rpartition(":")
    if not host or host != owner.rpartition(":")[0] or not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)  # asks, and does nothing
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def _lock(connection: sa.Connection, run_id: int) -> bool:
    """Hold a run's row, unless another transaction does."""
    return connection.scalar(_HELD.with_for_update(skip_locked=True), {"key": run_id}) is not None


def check_fence(connection: sa.Connection, run: Run) -> None:
    """Hold this run's row and make sure none of its kind is newer. Raises Held."""
    connection.execute(_HELD.with_for_update(), {"key": run.run_id})
    newest = connection.scalar(_FENCE, {"of_kind": run.kind})
    if newest != run.fence:
        raise Held(f"another {run.kind} has taken over (fence {newest}, ours is {run.fence}); nothing was written")
