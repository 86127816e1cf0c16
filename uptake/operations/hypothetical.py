"""The ledger's tables as they would be if somebody had entered, and what of them matters. Nothing is written."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from uptake.ports import Entry


def around(tables: Mapping[str, pa.Table], accounts: pa.Array) -> dict[str, pa.Table]:
    """Return the tables with the enrollments of these accounts, and of accounts they share an address with, alone.

    Nobody else can win an address of theirs, or take the room in a cap.
    """
    people, enrollments = tables["people"], tables["enrollments"]
    own = people.filter(pc.is_in(people["account_id"], accounts))["address_hash"].drop_null().unique()
    near = people.filter(pc.is_in(people["address_hash"], own))["account_id"].unique()
    is_near = pc.or_(*(pc.is_in(enrollments["account_id"], some) for some in (accounts, near)))
    return {**tables, "enrollments": enrollments.filter(is_near)}


def as_if_in(
    playbook: str, entry: Entry, tables: Mapping[str, pa.Table], now: datetime, *, version_id: int, first_id: int
) -> dict[str, pa.Table]:
    """Return the tables with the entrants in them, under enrollment ids from `first_id` on that nobody has."""
    accounts = entry.contacts.group_by("account_id").aggregate([("entry_no", "min"), ("arm", "min")])
    count = accounts.num_rows
    ids = pa.array(np.arange(first_id, first_id + count))
    enrollments = pa.table(
        {
            "enrollment_id": ids,
            "playbook": pa.repeat(playbook, count),
            "account_id": accounts["account_id"],
            "entry_no": accounts["entry_no_min"],
            "version_id": pa.repeat(version_id, count),
            "arm": accounts["arm_min"],
            "enrolled_at": pa.repeat(pa.scalar(now, pa.timestamp("us", "UTC")), count),
            "status": pa.repeat("open", count),
            "ended_at": pa.nulls(count, pa.timestamp("us", "UTC")),
        }
    )
    of_account = pa.table({"account_id": accounts["account_id"], "enrollment_id": ids})
    contacts = entry.contacts.select(["account_id", "contact_id", "feature_key"]).join(of_account, keys="account_id")
    contacts = contacts.append_column("status", pa.repeat("open", contacts.num_rows))
    return {
        **tables,
        "enrollments": appended(tables["enrollments"], enrollments),
        "enrollment_contacts": appended(tables["enrollment_contacts"], contacts),
    }


def appended(table: pa.Table, rows: pa.Table) -> pa.Table:
    """Return a table with more rows, taken by the names and types of its columns."""
    return pa.concat_tables([table, rows.select(table.schema.names).cast(table.schema)])
