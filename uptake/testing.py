"""Fakes and builders for tests: ours, and those of people who test their playbooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from uptake.adapters.marts import MARTS, PARTITIONED
from uptake.ports import Snapshot


class FixedClock:
    """A clock that shows what it was told."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def now(self) -> datetime:
        """Return the fixed moment."""
        return self.moment


def write_snapshot(
    directory: Path, *, as_of: datetime, marts: Mapping[str, Sequence[Mapping[str, Any]]], snapshot_id: str = "test"
) -> Snapshot:
    """Write marts given as rows (missing columns are NULL, missing marts are empty) and return their snapshot."""
    unknown = set(marts) - set(MARTS)
    if unknown:
        raise ValueError(f"unknown marts {sorted(unknown)}; expected some of {sorted(MARTS)}")
    folder = directory / snapshot_id
    folder.mkdir(parents=True, exist_ok=True)
    for mart, schema in MARTS.items():
        rows = [{name: row.get(name) for name in schema.names} for row in marts.get(mart, [])]
        for row in marts.get(mart, []):
            if extra := set(row) - set(schema.names):
                raise ValueError(f"{mart} has no column {sorted(extra)}")
        table = pa.Table.from_pylist(rows, schema=schema)
        if mart in PARTITIONED:
            (folder / mart).mkdir(exist_ok=True)
            pq.write_table(table, folder / mart / "all.parquet")
        else:
            pq.write_table(table, folder / f"{mart}.parquet")
    return Snapshot(snapshot_id=snapshot_id, as_of=as_of.astimezone(UTC), directory=folder, manifest={})
