"""The ledger's tables as they would be if somebody had entered. Nothing is written."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import pyarrow as pa

from uptake.ports import Entry


def as_if_in(
    playbook: str, entry: Entry, tables: Mapping[str, pa.Table], now: datetime, *, version_id: int, first_id: int
) -> dict[str, pa.Table]:
    """Return the tables with the entrants in them, under enrollment ids from `first_id` on that nobody has."""
    accounts = entry.contacts.group_by("account_id").aggregate([("entry_no", "min"), ("arm", "min")])
    count = accounts.num_rows
    ids = pa.array(range(first_id, first_id + count), pa.int64())
    enrollments = pa.table(
        {
            "enrollment_id": ids,
            "playbook": pa.array([playbook] * count, pa.string()),
            "account_id": accounts["account_id"],
            "entry_no": accounts["entry_no_min"],
            "version_id": pa.array([version_id] * count, pa.int64()),
            "arm": accounts["arm_min"],
            "enrolled_at": pa.array([now] * count, pa.timestamp("us", "UTC")),
            "status": pa.array(["open"] * count, pa.string()),
            "ended_at": pa.nulls(count, pa.timestamp("us", "UTC")),
        }
    )
    of_account = pa.table({"account_id": accounts["account_id"], "enrollment_id": ids})
    contacts = entry.contacts.select(["account_id", "contact_id", "feature_key"]).join(of_account, keys="account_id")
    contacts = contacts.append_column("status", pa.array(["open"] * contacts.num_rows, pa.string()))
    return {
        **tables,
        "enrollments": appended(tables["enrollments"], enrollments),
        "enrollment_contacts": appended(tables["enrollment_contacts"], contacts),
    }


def appended(table: pa.Table, rows: pa.Table) -> pa.Table:
    """Return a table with more rows, taken by the names and types of its columns."""
    return pa.concat_tables([table, rows.select(table.schema.names).cast(table.schema)])
