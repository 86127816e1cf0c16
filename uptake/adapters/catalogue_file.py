"""Reads the feature catalogue, `dbt_project/seeds/feature_catalog.csv`, by source."""

from __future__ import annotations

import csv
from pathlib import Path

from uptake.domain.catalogue import CatalogueRow
from uptake.errors import SettingsError


def read_catalogue(path: Path) -> tuple[dict[str, list[CatalogueRow]], list[str]]:
    """Return source -> its features in the order of the file, and the file's columns. Raises SettingsError."""
    found: dict[str, list[CatalogueRow]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            for row in reader:
                found.setdefault(row["source"], []).append(
                    CatalogueRow(
                        feature_key=row["feature_key"],
                        name=row["name"],
                        event_patterns=tuple(part.strip() for part in row["event_patterns"].split("|") if part.strip()),
                        ladder_rank=int(row["ladder_rank"] or 0),
                    )
                )
            return found, list(reader.fieldnames or ())
    except FileNotFoundError as error:
        raise SettingsError(
            f"{path.name}: there is no feature catalogue; expected it in {path.parent.name}/"
        ) from error
    except (KeyError, ValueError, AttributeError, TypeError) as error:
        raise SettingsError(f"{path.name}:{reader.line_num}: not a row of the feature catalogue: {error}") from error
