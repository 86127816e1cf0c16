"""Raw logs to a published snapshot."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol

import pyarrow as pa

from uptake.domain.raw_log import RawLog

Status = Literal["passed", "held"]
Protects = Literal["mail", "reports"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check that ran, or should have run, before a snapshot may be published."""

    name: str  # unique, e.g. `gx:accounts_current:expect_column_values_to_be_between:adoption_breadth`
    status: Literal["passed", "failed", "errored", "missing", "baseline"]
    severity: Literal["critical", "warning"]
    detail: str = ""  # what was found and what was expected; ids only
    protects: Protects = "mail"  # what it stands before; what is wrong with value never stops a mail
    rows: tuple[str, ...] = ()  # a few of the rows that broke it, by their ids alone: `account_id=a1, feature_key=api`

    @property
    def blocks(self) -> bool:
        """A critical check that did not pass holds what it protects; a baseline counts as run."""
        return self.severity == "critical" and not self.is_sound

    @property
    def is_sound(self) -> bool:
        """It ran, and found nothing wrong or nothing to compare with."""
        return self.status in ("passed", "baseline")


@dataclass(frozen=True, kw_only=True)
class Build:
    """What one run of dbt left behind."""

    warehouse: Path  # DuckDB file with the candidate marts in schema `marts`
    invocation_id: str
    as_of: datetime
    checks: tuple[Check, ...]  # dbt tests and source freshness
    counts: Mapping[str, int]  # lines, events, duplicates, quarantined, unattributed, accounts, users, features
    unmapped_events: Mapping[str, int]  # event name -> how many
    source: str = ""
    raw: Path | None = None  # the folder that was read; None: nobody said


class Transformer(Protocol):
    """Builds the candidate marts."""

    def build(self, *, source: str, raw: Path, as_of: datetime | None) -> Build:
        """Build all marts; `as_of` None = the source's own rule, else now. Raises TransformError."""

    def people(self, warehouse: Path) -> pa.Table:
        """Return `stg_people` of what was built: contact_id, account_id, address, given_name, full_name, role,
        time_zone, locale, consent_basis, consent_at, consent_expires_at. Addresses go from here to the ledger and
        nowhere else.
        """


class LogProfiler(Protocol):
    """Looks at raw logs before anyone maps them."""

    def profile(self, raw: Path, *, source: str | None, now: datetime) -> RawLog:
        """Profile a folder or one file; with `source`, its events as that source reads them.

        Raises UsageError when there is nothing to read, TransformError when the source cannot be staged.
        """


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """One published, immutable set of marts."""

    snapshot_id: str
    as_of: datetime
    directory: Path
    manifest: Mapping[str, Any]

    def files(self, mart: str) -> str:
        """Return the Parquet path (or glob, for a partitioned mart) of one mart."""
        folder = self.directory / mart
        return str(folder / "*.parquet") if folder.is_dir() else f"{folder}.parquet"


class SuiteRunner(Protocol):
    """Validates candidate marts."""

    @property
    def required_names(self) -> frozenset[str]:
        """Names that must be among the checks of every run: one that is absent counts as missing."""

    def protects(self, name: str) -> Protects:
        """Return what a check of this name stands before, whichever tool ran it."""

    def run(
        self, build: Build, *, history: Sequence[Mapping[str, Any]], now: datetime | None = None
    ) -> tuple[Check, ...]:
        """Run every suite; `history` = manifests of earlier snapshots of this source, newest first; `now` None = as_of.

        A manifest's `let_pass` names the checks that a person let pass for it: to them it is the new normal.
        Never raises for a bad suite or a bad mart: that is a check with status `errored` or `missing`.
        """


class Snapshots(Protocol):
    """The store of published snapshots."""

    def publish(self, build: Build, checks: Sequence[Check], *, source: str, git_sha: str, now: datetime) -> Snapshot:
        """Write the candidate marts as an immutable set and move `current` to it, atomically."""

    def hold(self, build: Build, checks: Sequence[Check], *, source: str, git_sha: str, now: datetime) -> str:
        """Keep the candidate marts where nobody reads them, until the next refresh; return their snapshot id.

        Only an override publishes them. Raises SnapshotError when a mart is missing or does not fit its columns.
        """

    def release(self, snapshot_id: str) -> Snapshot:
        """Publish what was held and move `current` to it; published already, it only does the latter.

        Raises SnapshotError.
        """

    def current(self) -> Snapshot | None:
        """Return the snapshot that `current` points to, its files verified to be there. Raises SnapshotError."""

    def open(self, snapshot_id: str) -> Snapshot:
        """Return one snapshot. Raises SnapshotError."""

    def history(self, source: str) -> list[Mapping[str, Any]]:
        """Return the manifests of this source's snapshots, newest first."""

    def prune(self, *, cited: Collection[str], now: datetime) -> Sequence[str]:
        """Remove snapshots by age (`domain.retention`) and return their ids; the current one, cited ones and those
        that somebody reads stay. Raises SnapshotError, OSError.
        """
