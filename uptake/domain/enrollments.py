"""Where one contact stands in a journey: the stage it waits for, since when, and when that stage is due."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from uptake.domain.playbooks import Playbook, Release
from uptake.domain.ways import longest

#: Least time between two mails to one address. Ticks come hourly: one that is started twice changes nothing.
BREATHER = timedelta(minutes=30)
#: A stage that is due for longer is passed over: late help is noise.
LATEST = timedelta(days=7)


def stage_orders(releases: Mapping[int, Release], name: str) -> list[list[str]]:
    """Return the stage keys of every known version of a playbook, in order; the newest version first."""
    versions = sorted(releases.items(), reverse=True)
    return [list(release.playbook.stages) for _, release in versions if release.name == name]


def places(order: Sequence[str], earlier: Iterable[Sequence[str]] = ()) -> dict[str, float]:
    """Return every known stage key's place in `order`; a removed stage stands just before its next survivor.

    Args:
        order: Stage keys of the definition that counts.
        earlier: Stage keys of other definitions the contact may have passed stages of, the newest first.

    Example:
        >>> places(["why", "call"], [["why", "how", "call"]])
        {'why': 0.0, 'call': 1.0, 'how': 0.5}
    """
    found = {key: float(place) for place, key in enumerate(order)}
    for other in earlier:
        place = float(len(order))
        for key in reversed(other):
            if key in order:
                place = found[key]
            else:
                found.setdefault(key, place - 0.5)
    return found


def due_at(after: timedelta, *, enrolled_at: datetime, ended_at: Iterable[datetime] = ()) -> datetime:
    """Return when the stage at the cursor is due: `after` the end of the stage before, or after the entry."""
    return max(ended_at, default=enrolled_at) + after


def task_ended_at(decided_at: datetime, *, due_at: datetime, closed_at: datetime | None) -> datetime:
    """Return when the stage of a task ends for a contact: when the task is closed.

    One that nobody closes holds the journey up until `LATEST` after it was to be done; it stays open for whoever does
    it, until the enrollment ends. Who closes it after that changes nothing about when the stage ended.
    """
    lapses_at = due_at + LATEST
    return max(decided_at, lapses_at if closed_at is None else min(closed_at, lapses_at))


def controls_complete_at(playbook: Playbook, enrolled_at: datetime) -> datetime:
    """Return when an account of a control arm has had its journey: when a treated one had, by the longest way.

    Without it a held-out account would stay in for ever, and could not enter again when treated ones can.
    """
    return enrolled_at + longest(playbook.stages)


_SEATS_BANDS = ((10, "1-10"), (50, "11-50"), (200, "51-200"), (1_000, "201-1000"))


def stratum(plan: str | None, seats: int | None) -> str:
    """Return the stratum an account is in at its draw, e.g. `team/11-50`: its plan and the size it bought.

    Strata serve balance tables and post-stratification; the draw itself knows nothing of them.
    """
    band = "unknown" if seats is None else next((name for top, name in _SEATS_BANDS if seats <= top), "1001+")
    return f"{plan or 'unknown'}/{band}"
