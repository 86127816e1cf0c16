"""Playbooks, and the rules of the tick on whole sets."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

import pyarrow as pa

from uptake.domain.conditions import Seen
from uptake.domain.playbooks import Release
from uptake.domain.workspace import Workspace
from uptake.ports.adoption import Snapshot
from uptake.ports.releases import ControlState


class Playbooks(Protocol):
    """The playbooks folder."""

    def names(self) -> list[str]:
        """Return every playbook's name, sorted."""

    def release(self, name: str) -> Release:
        """Read and check one playbook with its texts, layout and workspace. Raises PlaybookError."""

    def workspace(self) -> Workspace:
        """Read `_workspace.yml`. Raises PlaybookError."""

    def problems(self, name: str) -> list[str]:
        """Return everything wrong with one playbook and what it rests on, each with file and line."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Who would enter one playbook now.

    contacts: account_id, contact_id, contact_rank (1 = first chosen), feature_key, entry_no, arm, u, stratum
    left_out: account_id, contact_id (NULL for a whole account), reason (`LeftOut`)
    """

    contacts: pa.Table
    left_out: pa.Table


@dataclass(frozen=True, kw_only=True)
class Advance:
    """What one tick decides for those already in.

    endings:  enrollment_id, contact_id, reason. The contact leaves.
    account_endings: enrollment_id, reason. The whole enrollment ends (goal by account, stopped, completed, or the one
              reason all its contacts share); also for control arms. It may come with endings of its contacts.
    verdicts: enrollment_id, contact_id, stage_key, verdict, reason (NULL for send and task), detail (the winner as
              `playbook/stage/contact` for priority_lost, the next allowed moment for outside_window, what is paused,
              why the gate is held, else ''), version_id (the version that counts), feature_key, due_at (aware),
              for a send window_ends_at (aware; from then on it may not leave), and for a task owner (NULL: nobody is
              known) and facts (a JSON object, NULL: none asked for)
    """

    endings: pa.Table
    account_endings: pa.Table
    verdicts: pa.Table


class Journeys(Protocol):
    """The rules of the tick, run on whole sets over one snapshot. `uptake.domain` says what they mean for one row."""

    def near(self, accounts: Collection[str]) -> Journeys:
        """Return the same rules over what snapshots say of these accounts alone: for many questions about few."""

    def entrants(
        self,
        release: Release,
        snapshot: Snapshot,
        ledger: Mapping[str, pa.Table],
        now: datetime,
        *,
        controls: ControlState,
        account_id: str | None = None,
        by_hand: bool = False,
    ) -> Entry:
        """Decide who enters `release` now; with `account_id`, look at that account alone.

        `by_hand`: a person takes it in, whether it matches or not; what excludes it still does.
        """

    def advance(
        self,
        releases: Mapping[int, Release],
        snapshot: Snapshot,
        ledger: Mapping[str, pa.Table],
        now: datetime,
        *,
        following: Mapping[int, int],
        controls: ControlState,
        gate_held: str | None,
    ) -> Advance:
        """Decide for every open enrollment of the versions in `releases`.

        Args:
            releases: By version id: every version somebody is in, every version that counts for one, and those whose
                stages somebody may have passed in between.
            snapshot: What the world looks like.
            ledger: `Enrollments.tables`.
            now: The moment of deciding.
            following: The version an enrollment was entered with -> the version that counts for it; absent: itself.
            controls: What people have paused or stopped.
            gate_held: Why nothing may be sent, and nothing be concluded from the snapshot; None when it is sound.
        """

    def stage_counts(
        self, release: Release, entry: Entry, snapshot: Snapshot, ledger: Mapping[str, pa.Table], now: datetime
    ) -> pa.Table:
        """Forecast the sends of the entrants, at most: day, stage_key, count_sends; for 14 days."""

    def upcoming(
        self,
        releases: Mapping[int, Release],
        snapshot: Snapshot,
        ledger: Mapping[str, pa.Table],
        now: datetime,
        *,
        following: Mapping[int, int],
        days: int,
    ) -> pa.Table:
        """Count the mails of the next `days` to those who are in: playbook, day, stage_key, count_sends.

        At most so many, at the earliest: as if every condition held and nothing stood in between. What a person has to
        do first is not foreseen.
        """

    def standing(
        self,
        releases: Mapping[int, Release],
        snapshot: Snapshot,
        ledger: Mapping[str, pa.Table],
        now: datetime,
        *,
        following: Mapping[int, int],
    ) -> pa.Table:
        """Count the treated contacts who are in by where they stand: playbook, stage_key (NULL: none is left),
        count_contacts. Whoever would leave at a tick now is not counted.
        """

    def taught(
        self, release: Release, snapshot: Snapshot, *, contact_id: str | None = None, limit: int = 1
    ) -> pa.Table:
        """Return contacts (that one, or the first by id) with the feature each would be taught, whoever may enter.

        Columns contact_id, account_id, feature_key (NULL: there is nothing to teach); empty when nobody is found.
        """

    def zone(
        self,
        release: Release,
        snapshot: Snapshot,
        ledger: Mapping[str, pa.Table],
        *,
        contact_id: str,
        account_id: str,
    ) -> str:
        """Return the IANA name of the zone whose clock counts for this recipient."""

    def facts(self, contacts: pa.Table, snapshot: Snapshot, ledger: Mapping[str, pa.Table], now: datetime) -> pa.Table:
        """Return what conditions see of these contacts: `contacts` and a column for every dotted name.

        `contacts`: contact_id, account_id, feature_key, and entry_no, age_days (NULL outside an enrollment).
        """

    def seen(
        self, condition: str, place: Literal["where", "exit_when", "when"], facts: Mapping[str, Any], now: datetime
    ) -> tuple[bool | None, tuple[Seen, ...]]:
        """Return what a condition says of one row of `facts`, and each of its predicates with the values seen."""
