"""Profile a raw log before anyone maps it, and propose the catalogue rows that it needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from uptake.domain.catalogue import CatalogueRow, FrictionPattern, as_csv_line, friction_kind, proposed_rows
from uptake.domain.mapping_draft import mapping_draft
from uptake.domain.raw_log import EventVolume, RawLog
from uptake.ports import LogProfiler


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What lies in a raw folder, and what the catalogue makes of it."""

    source: str  # of the catalogue; for a folder that no source reads yet, the name proposed for one
    is_catalogued: bool  # the catalogue knows a feature of this source
    log: RawLog
    features: Mapping[str, tuple[str, ...]]  # event name -> keys of the features it counts for
    friction: Mapping[str, str]  # event name -> the kind of friction it means instead
    proposed: tuple[str, ...]  # lines for the feature catalogue, one per unmapped event or family of events
    mapping: str | None  # a first mapping file, of a log that nobody mapped yet
    never_seen: tuple[str, ...]  # catalogued features of the source that no event of this log hits

    @property
    def volumes(self) -> tuple[EventVolume, ...]:
        """Events by name, the most frequent first."""
        return self.log.mapped.volumes if self.log.mapped else ()

    @property
    def unmapped(self) -> tuple[EventVolume, ...]:
        """Events that no feature claims, and that are no friction."""
        return tuple(one for one in self.volumes if not self.features[one.name] and one.name not in self.friction)

    def as_json(self) -> dict[str, Any]:
        """Return the result as JSON takes it."""
        mapped = self.log.mapped
        return {
            "source": self.source,
            "tables": [
                asdict(table) | {"fields": [_field(item) for item in table.fields]} for table in self.log.tables
            ],
            "mapped": mapped and {key: value for key, value in asdict(mapped).items() if key != "volumes"},
            "events": [
                asdict(one) | {"features": self.features[one.name], "friction": self.friction.get(one.name)}
                for one in self.volumes
            ],
            "proposed_mapping": self.mapping,
            "proposed_catalogue_rows": self.proposed,
            "features_never_seen": self.never_seen,
            "oddities": [asdict(oddity) for oddity in self.log.oddities],
            "ignored_files": self.log.ignored_files,
        }


def inspect(
    profiler: LogProfiler,
    *,
    raw: Path,
    source: str | None,
    name: str,
    catalogue: Mapping[str, Sequence[CatalogueRow]],
    friction: Mapping[str, Sequence[FrictionPattern]],
    columns: Sequence[str],
    now: datetime,
) -> Inspection:
    """Profile a raw folder or file.

    Args:
        profiler: Reads the files.
        raw: The folder, or one file.
        source: Whose mapping reads the events; None: nobody's yet, the fields' names are guessed from.
        name: What the catalogue calls the source, or would call it.
        catalogue: Source -> its features.
        friction: Source -> its events that mean friction. Like a refresh, it counts them for no feature.
        columns: The header of the catalogue file, for lines that can be pasted into it.
        now: The moment later than which nothing can have happened.
    """
    log = profiler.profile(raw, source=source, now=now)
    known = catalogue.get(name, ())
    volumes = log.mapped.volumes if log.mapped else ()
    names = [volume.name for volume in volumes]
    kinds = {event: kind for event in names if (kind := friction_kind(event, friction.get(name, ())))}
    features = {
        event: () if event in kinds else tuple(row.feature_key for row in known if row.claims(event)) for event in names
    }
    unmapped = [event for event in names if not features[event] and event not in kinds]
    hit = {key for keys in features.values() for key in keys}
    return Inspection(
        source=name,
        is_catalogued=bool(known),
        log=log,
        features=features,
        friction=kinds,
        proposed=tuple(as_csv_line(row, source=name, columns=columns) for row in proposed_rows(unmapped, known=known)),
        mapping=mapping_draft(log, name=name) if source is None else None,
        never_seen=tuple(row.feature_key for row in known if row.feature_key not in hit),
    )


def _field(item: Any) -> dict[str, Any]:
    return asdict(item) | {"kind": item.kind, "fill": round(item.fill, 4), "is_personal": item.is_personal}
