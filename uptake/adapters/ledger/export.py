"""The ledger export: the tables dbt reads, as Parquet; `docs/contracts.md` names their columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from uptake.adapters.ledger import answers
from uptake.adapters.ledger.arrow import TIMESTAMP, fetch
from uptake.adapters.ledger.schema import (
    decisions,
    delivery_events,
    enrollment_contacts,
    enrollments,
    preferences,
    sends,
)

_KINDS = {"enrollment_id": pa.int64(), "preference_id": pa.int64(), "entry_no": pa.int32(), "is_measured": pa.bool_()}
_TABLES: dict[sa.Table, str] = {
    enrollments: "enrollment_id playbook account_id entry_no arm stratum enrolled_at window_ends_at goal_reach goal_by "
    "snapshot_id status ended_at end_reason is_measured",
    enrollment_contacts: "enrollment_id contact_id feature_key status ended_at end_reason",
    sends: "send_id enrollment_id stage_key contact_id playbook account_id arm feature_key status reason planned_at "
    "accepted_at delivered_at",
    delivery_events: "event_key send_id event kind occurred_at",
    decisions: "enrollment_id contact_id stage_key verdict reason decided_at",
    preferences: "preference_id contact_id answer feature_key given_at",
}

SCHEMAS: dict[str, pa.Schema] = {
    table.name: pa.schema(
        [(name, TIMESTAMP if name.endswith("_at") else _KINDS.get(name, pa.string())) for name in names.split()]
    )
    for table, names in _TABLES.items()
}


#: Enrollments that count for lift: those that somebody took in by hand, or that want nothing, are no experiment.
IS_MEASURED = ((enrollments.c.goal_reach != "none") & (enrollments.c.entered_by == "match")).label("is_measured")
#: What is called otherwise in the ledger, or stands there in other words.
_OTHERWISE: dict[tuple[sa.Table, str], sa.ColumnElement[Any]] = {
    (enrollments, "is_measured"): IS_MEASURED,
    (preferences, "answer"): preferences.c.kind,
    (preferences, "feature_key"): preferences.c.value,
}


def export(connection: sa.Connection, directory: Path) -> None:
    """Write every table into `directory`, each file replaced atomically."""
    directory.mkdir(parents=True, exist_ok=True)
    for table in _TABLES:
        schema = SCHEMAS[table.name]
        columns = [_OTHERWISE[table, name] if (table, name) in _OTHERWISE else table.c[name] for name in schema.names]
        query = sa.select(*columns).order_by(*table.primary_key.columns)
        if table is preferences:
            query = query.where(answers.counts())
        draft = directory / f".{table.name}.parquet"
        pq.write_table(fetch(connection, query, schema), draft)
        draft.replace(directory / f"{table.name}.parquet")
