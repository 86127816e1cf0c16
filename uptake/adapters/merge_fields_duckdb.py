"""What a stage text may say about each person, read from one snapshot for a whole batch at once.

Only the columns that the texts name are read: a mart has many more, and a batch is no more than a thousand people.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
import pyarrow as pa

from uptake.adapters.loaded_marts import LoadedMarts
from uptake.adapters.text_columns import columns_of
from uptake.domain.playbooks import Release
from uptake.errors import SnapshotError
from uptake.ports import Claimed, Snapshot

Row = dict[str, Any]

#: The marts of one person, and the root that speaks of each. The last two are sparse: who never used the feature has
#: no row, and nobody looks for one unless a text names a column of it.
_PERSONAL = {
    "accounts_current": "account",
    "contacts_current": "contact",
    "contact_features": "feature",
    "account_features": "account_feature",
}
_JOINS = {
    "accounts_current": "join accounts_current on accounts_current.account_id = claimed.account_id",
    "contacts_current": "join contacts_current on contacts_current.contact_id = claimed.contact_id",
    "contact_features": (
        "left join contact_features on contact_features.contact_id = claimed.contact_id"
        " and contact_features.feature_key = claimed.feature_key"
    ),
    "account_features": (
        "left join account_features on account_features.account_id = claimed.account_id"
        " and account_features.feature_key = claimed.feature_key"
    ),
}
_NEVER: Row = {"adoption_state": "never", "days_used_28": 0}
_KEYS = ("account_id", "contact_id", "feature_key")


class DuckMergeFields:
    """Reads snapshots; implements `ports.MergeFields`."""

    def __init__(self, marts: LoadedMarts | None = None) -> None:
        self._marts = marts or LoadedMarts()

    def values(
        self, snapshot: Snapshot, release: Release, claimed: Sequence[Claimed]
    ) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
        """Return send_id -> {account, contact, feature, account_feature, sender}, each a row as a dict.

        Of each row what the texts of these stages name. Who is no longer in the snapshot is absent. Raises
        SnapshotError.
        """
        if not claimed:
            return {}
        try:
            with self._marts.open(snapshot) as marts:
                columns = _columns(marts, release, {send.stage_key for send in claimed})
                taught = _taught(marts, columns["dim_features"])
                rows = _rows(marts, columns, claimed)
        except duckdb.Error as error:
            raise SnapshotError(f"snapshot {snapshot.snapshot_id}: {str(error).splitlines()[0]}") from error
        sender = {"name": release.workspace.sender.name, "address": release.workspace.sender.address}
        untaught: Row = dict.fromkeys(columns["dim_features"])  # a feature that the snapshot's catalogue does not know
        values: dict[str, Mapping[str, Mapping[str, Any]]] = {}
        for send in claimed:
            if send.send_id not in rows:
                continue
            account, contact, used, account_used = rows[send.send_id]
            values[send.send_id] = {
                "account": account,
                "contact": {**contact, "given_name": send.given_name, "full_name": send.full_name},
                "feature": {**used, **taught.get(send.feature_key, untaught), "feature_key": send.feature_key},
                "account_feature": account_used,
                "sender": sender,
            }
        return values


def _columns(marts: duckdb.DuckDBPyConnection, release: Release, stage_keys: set[str]) -> dict[str, list[str]]:
    """Return by mart those of its columns that the texts of these stages name."""
    asked = [columns_of(release, stage_key) for stage_key in stage_keys]
    found = {}
    for mart, root in {**_PERSONAL, "dim_features": "feature"}.items():
        named = [columns[root] for columns in asked]
        found[mart] = [name for name in marts.table(mart).columns if any(one is None or name in one for one in named)]
    return found


def _taught(marts: duckdb.DuckDBPyConnection, names: Sequence[str]) -> dict[str, Row]:
    """Return the catalogue, in which very many people share a row."""
    query = f"select {', '.join(['feature_key', *names])} from dim_features"  # noqa: S608 - names of our own columns
    return {key: dict(zip(names, row, strict=True)) for key, *row in marts.execute(query).fetchall()}


def _rows(
    marts: duckdb.DuckDBPyConnection, columns: Mapping[str, Sequence[str]], claimed: Sequence[Claimed]
) -> dict[str, tuple[Row, ...]]:
    """Return by send id a row of each personal mart."""
    asked = [mart for mart, join in _JOINS.items() if columns[mart] or join.startswith("join")]
    selected, places = ["place"], dict[str, slice]()
    for mart in asked:
        selected += [f"{mart}.account_id is not null", *(f"{mart}.{name}" for name in columns[mart])]
        places[mart] = slice(len(selected) - len(columns[mart]), len(selected))
    keys = {name: pa.array([getattr(send, name) for send in claimed], pa.string()) for name in _KEYS}
    marts.register("claimed", pa.table({"place": pa.array(range(len(claimed)), pa.int32()), **keys}))
    query = f"select {', '.join(selected)} from claimed {' '.join(_JOINS[mart] for mart in asked)}"  # noqa: S608
    found = marts.execute(query).fetchall()
    rows: list[list[Row]] = []
    for mart in _PERSONAL:
        names, place = columns[mart], places.get(mart)
        never: Row = {name: _NEVER.get(name) for name in names}
        if place is None:
            rows.append([never] * len(found))
        else:
            is_there = place.start - 1
            rows.append([dict(zip(names, row[place], strict=True)) if row[is_there] else never for row in found])
    return dict(zip((claimed[row[0]].send_id for row in found), zip(*rows, strict=True), strict=True))
