"""Reads the catalogues of `dbt_project/seeds/`, of features and of friction, and what a mapping file adds to them."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from uptake.adapters.playbook_yaml import read_source
from uptake.adapters.source_mapping import read_mapping
from uptake.domain.catalogue import CatalogueRow, FrictionPattern
from uptake.errors import SettingsError

_Row = TypeVar("_Row")


@dataclass(frozen=True)
class FeatureRow:
    """What is said of one feature, of whatever source, and where."""

    file: str
    line: int
    values: Mapping[str, str]  # by the columns of the catalogue; what is not said is empty

    @property
    def key(self) -> str:
        """The feature's key."""
        return self.values.get("feature_key", "")


def feature_rows(path: Path) -> list[FeatureRow]:
    """Return every row of the catalogue, with its line. Raises Unreadable."""
    source = read_source(path, "/".join((*path.parts[-3:-1], path.name)))
    rows = csv.DictReader(source.text.splitlines())
    return [
        FeatureRow(source.file, rows.line_num, {column: value or "" for column, value in row.items() if column})
        for row in rows
    ]


def mapped_feature_rows(path: Path) -> list[FeatureRow]:
    """Return the features that a mapping file names, as rows of the catalogue. Raises BadMapping."""
    mapping = read_mapping(path)
    return [
        FeatureRow(str(path), line, {column: "" if value is None else str(value) for column, value in row.items()})
        for line, row in mapping.features
    ]


def read_catalogue(path: Path, mapping: Path | None = None) -> tuple[dict[str, list[CatalogueRow]], list[str]]:
    """Return source -> its features in the order of the file, and the file's columns.

    What a mapping names comes after what the file has of its source. Raises SettingsError, BadMapping.
    """
    found, columns = _by_source(path, "feature", _row)
    if mapping is not None:
        own = read_mapping(mapping)
        found.setdefault(own.name, []).extend(_row(row) for _, row in own.features)
    return found, columns


def read_friction(path: Path) -> dict[str, list[FrictionPattern]]:
    """Return source -> its events that mean friction. Raises SettingsError."""
    return _by_source(path, "friction", _friction)[0]


def _by_source(
    path: Path, kind: str, read: Callable[[Mapping[str, Any]], _Row]
) -> tuple[dict[str, list[_Row]], list[str]]:
    """Return source -> its rows in the order of the file, and the file's columns. Raises SettingsError."""
    found: dict[str, list[_Row]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            for row in reader:
                found.setdefault(row["source"], []).append(read(row))
            return found, list(reader.fieldnames or ())
    except FileNotFoundError as error:
        raise SettingsError(f"{path.name}: there is no {kind} catalogue; expected it in {path.parent.name}/") from error
    except (KeyError, ValueError, AttributeError, TypeError) as error:
        raise SettingsError(f"{path.name}:{reader.line_num}: not a row of the {kind} catalogue: {error}") from error


def _friction(row: Mapping[str, Any]) -> FrictionPattern:
    return FrictionPattern(event_pattern=row["event_pattern"].strip(), kind=row["kind"])


def _row(row: Mapping[str, Any]) -> CatalogueRow:
    return CatalogueRow(
        feature_key=row["feature_key"],
        name=row["name"],
        event_patterns=tuple(part.strip() for part in row["event_patterns"].split("|") if part.strip()),
        ladder_rank=int(row["ladder_rank"] or 0),
    )
