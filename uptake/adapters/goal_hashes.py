"""Which definition stood behind a goal: one hash for each feature, and one for all of them together."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import duckdb

_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/|\{#.*?#\}", re.DOTALL)
#: Columns of the feature catalogue that change no verdict. Any other one does, also one that is new.
_HARMLESS = frozenset({"name", "weight", "minutes_saved_per_use", "guide_url", "ladder_rank", "prerequisite"})


def goal_hashes(warehouse: duckdb.DuckDBPyConnection, definitions: Iterable[Path], source: str) -> dict[str, Any]:
    """Return {"goal_hash": of everything, "goal_hashes": {feature_key: of this feature}}.

    A feature's hash covers after how many days it counts as adopted (`dim_features`), its rows in every catalogue
    among `definitions` (the .csv files: rows of `source` with a `feature_key`), its source's rows without one (what is
    friction, and so nobody's use), and the text of all other files, which say for every feature what its use is;
    comments and spacing aside.
    """
    features = warehouse.execute(
        "select feature_key, adopted_days from marts.dim_features order by feature_key, adopted_days"
    ).fetchall()
    common = hashlib.sha256()
    catalogued: dict[str, list[Mapping[str, str]]] = {}
    for path in sorted(definitions):
        if path.suffix == ".csv":
            for key, row in _rows(path, source):
                if key is None:
                    common.update(f"\x1f{path.name}\x1f{json.dumps(row)}".encode())
                else:
                    catalogued.setdefault(key, []).append(row)
        else:
            text = " ".join(_COMMENT.sub(" ", path.read_text()).split())
            common.update(f"\x1f{path.name}\x1f{text}".encode())
    by_feature = {
        str(key): _hash([common.hexdigest(), key, adopted_days, catalogued.get(key, [])])
        for key, adopted_days in features
    }
    return {"goal_hash": _hash([common.hexdigest(), by_feature]), "goal_hashes": by_feature}


def _rows(path: Path, source: str) -> Iterable[tuple[str | None, Mapping[str, str]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        for row in csv.DictReader(file):
            if row.get("source", source) == source:
                yield row.get("feature_key"), {name: row[name] for name in sorted(row) if name not in _HARMLESS}


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
