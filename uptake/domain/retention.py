"""Which published snapshots are kept: ninety daily ones, the last of each month, and what somebody still stands on."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby

DAILY = 90  # days with a snapshot, of which the last one is kept; before them, the last of each month
#: Nothing so new goes: a run that began before the next refresh may still read it, or is about to cite it.
SETTLES = timedelta(days=2)


@dataclass(frozen=True, kw_only=True)
class Published:
    """One snapshot of the store. Both moments are aware."""

    snapshot_id: str
    source: str
    as_of: datetime
    created_at: datetime


def superfluous(
    published: Iterable[Published], *, current: str | None, cited: Collection[str], now: datetime
) -> list[str]:
    """Return the ids of the snapshots that nobody needs any more, oldest first.

    Days and months are UTC, of `as_of`, and each source has its own. Days are counted where there is a snapshot: who
    refreshes once a week keeps ninety weeks.

    Args:
        published: Every snapshot of the store.
        current: The one that `current` points to, if any; it stays, however old.
        cited: Those that a decision, an approval or a report stands on; they stay for ever.
        now: Whatever was created less than two days before stays.
    """
    ordered = sorted(published, key=lambda one: (one.source, one.as_of, one.created_at, one.snapshot_id))
    kept = {current, *cited}
    for _, snapshots in groupby(ordered, key=lambda one: one.source):
        last_of_day = {_utc(one).date(): one.snapshot_id for one in snapshots}  # later ones come later
        last_of_month = {(day.year, day.month): snapshot_id for day, snapshot_id in last_of_day.items()}
        kept |= {*list(last_of_day.values())[-DAILY:], *last_of_month.values()}
    gone = [one for one in ordered if one.snapshot_id not in kept and now - one.created_at >= SETTLES]
    return [one.snapshot_id for one in sorted(gone, key=lambda one: (one.as_of, one.snapshot_id))]


def _utc(one: Published) -> datetime:
    return one.as_of.astimezone(UTC)
