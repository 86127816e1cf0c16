"""What a stage text may say about each person, read from one snapshot for a whole batch at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
import pyarrow as pa

from uptake.adapters.loaded_marts import LoadedMarts
from uptake.adapters.marts import MARTS
from uptake.domain.playbooks import Release
from uptake.errors import SnapshotError
from uptake.ports import Claimed, Snapshot

Row = dict[str, Any]

#: By the first column: a send, or (the same row for very many of these) the feature taught.
_QUERIES = {
    "account": "select send_id, mart.* from claimed join accounts_current as mart using (account_id)",
    "contact": "select send_id, mart.* from claimed join contacts_current as mart using (contact_id)",
    "taught": (
        "select mart.feature_key, mart.* from dim_features as mart"
        " where mart.feature_key in (select feature_key from claimed)"
    ),
    "feature": "select send_id, mart.* from claimed join contact_features as mart using (contact_id, feature_key)",
    "account_feature": (
        "select send_id, mart.* from claimed join account_features as mart using (account_id, feature_key)"
    ),
}
#: A contact without a row in the sparse marts never used the feature.
_NEVER: dict[str, Row] = {
    mart: dict.fromkeys(MARTS[mart].names) | {"adoption_state": "never", "days_used_28": 0}
    for mart in ("contact_features", "account_features")
}
#: A feature that the catalogue of the snapshot does not know.
_UNTAUGHT: Row = dict.fromkeys(MARTS["dim_features"].names)


class DuckMergeFields:
    """Reads snapshots; implements `ports.MergeFields`."""

    def __init__(self, marts: LoadedMarts | None = None) -> None:
        self._marts = marts or LoadedMarts()

    def values(
        self, snapshot: Snapshot, release: Release, claimed: Sequence[Claimed]
    ) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
        """Return send_id -> {account, contact, feature, account_feature, sender}, each a row as a dict.

        Who is no longer in the snapshot is absent. Raises SnapshotError.
        """
        rows = self._rows(snapshot, claimed)
        sender = {"name": release.workspace.sender.name, "address": release.workspace.sender.address}
        values: dict[str, dict[str, Mapping[str, Any]]] = {}
        for send in claimed:
            account, contact = rows["account"].get(send.send_id), rows["contact"].get(send.send_id)
            if account is None or contact is None:
                continue
            taught = rows["taught"].get(send.feature_key, _UNTAUGHT)
            used = rows["feature"].get(send.send_id, _NEVER["contact_features"])
            values[send.send_id] = {
                "account": account,
                "contact": {**contact, "given_name": send.given_name, "full_name": send.full_name},
                "feature": {**used, **taught, "feature_key": send.feature_key},
                "account_feature": rows["account_feature"].get(send.send_id, _NEVER["account_features"]),
                "sender": sender,
            }
        return values

    def _rows(self, snapshot: Snapshot, claimed: Sequence[Claimed]) -> dict[str, dict[str, Row]]:
        """Return, for each query, its key -> row."""
        columns = ("send_id", "account_id", "contact_id", "feature_key")
        table = pa.table({name: pa.array([getattr(send, name) for send in claimed], pa.string()) for name in columns})
        found: dict[str, dict[str, Row]] = {}
        try:
            with self._marts.open(snapshot) as marts:
                marts.register("claimed", table)
                for name, query in _QUERIES.items():
                    answer = marts.execute(query)
                    names = [column[0] for column in answer.description[1:]]
                    found[name] = {row[0]: dict(zip(names, row[1:], strict=True)) for row in answer.fetchall()}
        except duckdb.Error as error:
            raise SnapshotError(f"snapshot {snapshot.snapshot_id}: {str(error).splitlines()[0]}") from error
        return found
