"""The functions the simulated product sells, read from the same feature catalogue that the marts use."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from uptake.errors import SettingsError

PLANS = ("starter", "team", "business", "enterprise")
SOURCE = "uptake"


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One function of the product."""

    key: str
    events: tuple[str, ...]  # the event names that its use leaves behind
    plans: frozenset[str]  # who has paid for it
    adopted_days: int  # distinct days of 28 from which it counts as adopted


_GLOB_ENDINGS = ("opened", "edited", "used")  # what stands for the star of a pattern like `projects.*`


def read_catalogue(path: Path, *, source: str = SOURCE) -> tuple[Feature, ...]:
    """Return the features of one source, in the order of the file. Raises SettingsError."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row["source"] == source]
            features = tuple(_feature(row) for row in rows)
    except FileNotFoundError as error:
        raise SettingsError(f"{path}: there is no feature catalogue") from error
    except (KeyError, ValueError) as error:
        raise SettingsError(f"{path}: cannot read the feature catalogue: {error}") from error
    if not features:
        raise SettingsError(f"{path}: the feature catalogue has no row of source {source!r}")
    return features


def _feature(row: Mapping[str, str]) -> Feature:
    plans = frozenset(_items(row["plans_entitled"])) or frozenset(PLANS)
    if unknown := plans - set(PLANS):
        raise ValueError(f"{row['feature_key']} is sold on plans {sorted(unknown)}; expected some of {list(PLANS)}")
    return Feature(
        key=row["feature_key"],
        events=tuple(name for pattern in _items(row["event_patterns"]) for name in _names(pattern)),
        plans=plans,
        adopted_days=int(row["adopted_days"]),
    )


def _names(pattern: str) -> list[str]:
    if "*" not in pattern:
        return [pattern]
    return [pattern.replace("*", ending) for ending in _GLOB_ENDINGS]


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split("|") if item.strip()]
