"""Decision rows: one per contact and stage whenever the verdict or its reason changes."""

from __future__ import annotations

from datetime import datetime
from functools import cache

import pyarrow as pa
import sqlalchemy as sa

from uptake.adapters.ledger.arrow import stage, unstage
from uptake.adapters.ledger.schema import decisions, sends
from uptake.domain.eligibility import Reason, Verdict, effect_of
from uptake.domain.sends import SendStatus

#: What `decide` is given: a verdict on each contact at a stage.
VERDICTS = pa.schema(
    [
        ("enrollment_id", pa.int64()),
        ("contact_id", pa.string()),
        ("stage_key", pa.string()),
        ("verdict", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("version_id", pa.int64()),
        ("snapshot_id", pa.string()),
        ("gate_id", pa.int64()),
    ]
)


_RETRY = sorted(reason.value for reason in Reason if effect_of(reason) is Verdict.RETRY)


def is_asked_again() -> sa.ColumnElement[bool]:
    """A send stopped before its intent for a reason that passes: its stage is not over, the next tick decides it."""
    return (sends.c.status == SendStatus.WITHHELD.value) & sa.func.coalesce(sends.c.reason, "").in_(_RETRY)


def decide(connection: sa.Connection, verdicts: pa.Table, *, run_id: int | None, now: datetime) -> None:
    """Write the verdicts (columns `VERDICTS`, each contact and stage once) that differ from the current ones."""
    if verdicts.num_rows == 0:
        return
    given = stage(connection, "decisions", verdicts.select(VERDICTS.names).cast(VERDICTS))
    supersede, insert = _changes(given)
    connection.execute(supersede, {"now": now})
    connection.execute(insert, {"now": now, "run": run_id})
    unstage(connection, given)


@cache
def _changes(given: sa.Table) -> tuple[sa.Update, sa.Insert]:
    """Return what ends the current decisions that differ from the given ones, and what writes those that are new."""
    now = sa.bindparam("now", type_=decisions.c.decided_at.type)
    is_current = (
        (decisions.c.enrollment_id == given.c.enrollment_id)
        & (decisions.c.contact_id == given.c.contact_id)
        & (decisions.c.stage_key == given.c.stage_key)
        & decisions.c.superseded_at.is_(None)
    )
    differs = (decisions.c.verdict != given.c.verdict) | decisions.c.reason.is_distinct_from(given.c.reason)
    rows = (
        sa.select(
            *(sa.func.coalesce(given.c.detail, "") if name == "detail" else given.c[name] for name in VERDICTS.names),
            sa.bindparam("run", type_=decisions.c.run_id.type),
            now,
        )
        .outerjoin(decisions, is_current)
        .where(decisions.c.decision_id.is_(None))
        .order_by(given.c.enrollment_id, given.c.contact_id)
    )
    return (
        sa.update(decisions).where(is_current, differs).values(superseded_at=now),
        sa.insert(decisions).from_select([*VERDICTS.names, "run_id", "decided_at"], rows),
    )
