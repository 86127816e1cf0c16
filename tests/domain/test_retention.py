from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from uptake.domain.retention import DAILY, SETTLES, Published, superfluous

START = datetime(2024, 1, 1, 5, tzinfo=UTC)
#: Hours between one refresh and the next: several a day, daily, weekly, a month of silence.
CALENDARS = st.lists(st.sampled_from([1, 6, 24, 24, 24, 25, 168, 800]), min_size=1, max_size=160)
TWO_SOURCES = st.lists(st.tuples(st.sampled_from(["uptake", "segment"]), st.integers(0, 9000)), max_size=120)


def published(hours: Sequence[int], source: str = "uptake") -> list[Published]:
    moments = [START + timedelta(hours=sum(hours[: place + 1])) for place in range(len(hours))]
    return [
        Published(snapshot_id=f"{source}-{n:03}", source=source, as_of=moment, created_at=moment)
        for n, moment in enumerate(moments)
    ]


def kept(
    snapshots: Sequence[Published],
    *,
    now: datetime | None = None,
    current: str | None = None,
    cited: Collection[str] = (),
) -> set[str]:
    later = now or max(one.created_at for one in snapshots) + SETTLES
    gone = superfluous(snapshots, current=current, cited=cited, now=later)
    assert len(set(gone)) == len(gone)
    return {one.snapshot_id for one in snapshots} - set(gone)


def test_a_year_of_days_leaves_ninety_and_the_last_of_each_month() -> None:
    snapshots = published([24] * 365)
    left = [one.as_of for one in snapshots if one.snapshot_id in kept(snapshots)]
    assert len(left) == DAILY + 9
    assert [f"{moment:%m-%d}" for moment in left[:10]] == [
        "01-31", "02-29", "03-31", "04-30", "05-31", "06-30", "07-31", "08-31", "09-30", "10-03",
    ]  # fmt: skip


def test_of_a_day_the_last_one_is_kept() -> None:
    snapshots = published([24, 1, 1, 24])
    assert kept(snapshots) == {"uptake-002", "uptake-003"}


def test_what_was_made_within_two_days_stays() -> None:
    snapshots = published([24, 1, 1])
    made = snapshots[0].created_at
    assert "uptake-000" in kept(snapshots, now=made + SETTLES - timedelta(seconds=1))
    assert "uptake-000" not in kept(snapshots, now=made + SETTLES)


def test_a_source_that_nobody_reads_any_more_keeps_its_own_days() -> None:
    old, new = published([24] * 3, "segment"), published([24] * 400)
    assert {one.snapshot_id for one in old} <= kept([*old, *new])


@given(CALENDARS, st.data())
def test_the_newest_the_current_and_the_cited_never_go(hours: list[int], data: st.DataObject) -> None:
    snapshots = published(hours)
    ids = [one.snapshot_id for one in snapshots]
    cited = data.draw(st.sets(st.sampled_from(ids)))
    current = data.draw(st.sampled_from(ids))
    assert {ids[-1], current, *cited} <= kept(snapshots, current=current, cited=cited)


@given(CALENDARS)
def test_a_later_run_needs_nothing_that_an_earlier_one_took(hours: list[int]) -> None:
    """Pruned after each refresh or once at the end: the same snapshots are left, and a second run finds nothing."""
    snapshots = published(hours)
    left: list[Published] = []
    for one in snapshots:
        left.append(one)
        gone = superfluous(left, current=one.snapshot_id, cited=(), now=one.created_at)
        left = [other for other in left if other.snapshot_id not in gone]
    end = snapshots[-1].created_at + SETTLES
    assert kept(left, now=end) == kept(snapshots, now=end)
    assert kept([one for one in snapshots if one.snapshot_id in kept(snapshots)], now=end) == kept(snapshots, now=end)


@given(CALENDARS)
def test_every_day_and_month_that_counts_still_has_one(hours: list[int]) -> None:
    snapshots = published(hours)
    left = [one for one in snapshots if one.snapshot_id in kept(snapshots)]
    days = sorted({one.as_of.date() for one in snapshots})
    assert {one.as_of.date() for one in left} >= set(days[-DAILY:])
    assert {f"{one.as_of:%Y-%m}" for one in left} == {f"{one.as_of:%Y-%m}" for one in snapshots}
    assert len(left) <= DAILY + len({f"{day:%Y-%m}" for day in days})


@given(TWO_SOURCES, st.randoms())
def test_neither_order_nor_another_source_makes_a_difference(found: list[tuple[str, int]], random: object) -> None:
    snapshots = [
        Published(snapshot_id=f"{n}", source=source, as_of=START + timedelta(hours=hour), created_at=START)
        for n, (source, hour) in enumerate(found)
    ]
    shuffled = list(snapshots)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    now = START + SETTLES
    whole = superfluous(shuffled, current=None, cited=(), now=now)
    alone = {
        gone
        for source in ("uptake", "segment")
        for gone in superfluous([one for one in snapshots if one.source == source], current=None, cited=(), now=now)
    }
    assert set(whole) == alone
    assert whole == superfluous(snapshots, current=None, cited=(), now=now)
