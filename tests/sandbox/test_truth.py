"""The planted truth of the lift."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from uptake.adapters.key_ring import open_key_ring
from uptake.adapters.transformer_dbt import DbtTransformer
from uptake.domain.arms import draw
from uptake.domain.ids import contact_id
from uptake.sandbox.base import CustomerBase, simulate
from uptake.sandbox.catalogue import Feature, read_catalogue
from uptake.sandbox.files import AcceptedMail
from uptake.sandbox.truth import Enrollment, Truth, planted_lifts
from uptake.sandbox.usage import Usage

ENTRY = datetime(2026, 3, 2, 7, tzinfo=UTC)
FORTNIGHT = timedelta(days=14)


@pytest.fixture(scope="module")
def features(root: Path) -> tuple[Feature, ...]:
    return read_catalogue(root / "dbt_project" / "seeds" / "feature_catalog.csv")


@pytest.fixture(scope="module")
def base(features: tuple[Feature, ...]) -> CustomerBase:
    return simulate(7, features, accounts=10, contacts=60)


class Diary(Usage):
    """Usage as written down: (day, contact, feature key), all of it at 6 in the morning; mails add `taught`."""

    def __init__(
        self,
        base: CustomerBase,
        entries: Iterable[tuple[int, int, str]],
        taught: Iterable[tuple[int, int, str]] = (),
    ) -> None:
        super().__init__(base)
        self._keys = [feature.key for feature in base.features]
        self._entries, self._taught = tuple(entries), tuple(taught)

    def lessons(self, mails: Sequence[AcceptedMail]) -> Any:
        return np.array(len(mails))

    def uses_until(self, day: int, lessons: Any, second: int) -> Any:
        return self.uses(day, lessons) & (second >= 6 * 3_600)

    def uses(self, day: int, lessons: Any) -> Any:
        used = np.zeros((len(self._base.contacts), len(self._keys)), dtype=bool)
        for on, contact, key in (*self._entries, *(self._taught if lessons else ())):
            if on == day:
                used[contact, self._keys.index(key)] = True
        return used


def enrollment(base: CustomerBase, account: int, *features: str, arm: str = "treatment", at: datetime = ENTRY):
    return Enrollment(
        playbook="p",
        account_id=base.account_ids[account],
        arm=arm,
        enrolled_at=at,
        window_ends_at=at + FORTNIGHT,
        features=frozenset(features or ("charts",)),
    )


def people_of(base: CustomerBase, account: int) -> list[int]:
    return np.flatnonzero(base.contacts.account == account).tolist()


def is_reached(base: CustomerBase, entries: Iterable[tuple[int, int, str]], one: Enrollment) -> bool:
    return Truth(base, Diary(base, entries), ()).reached(one)


def test_three_distinct_days_by_anyone_of_the_account_reach_the_goal(base: CustomerBase) -> None:
    a, b, *_ = people_of(base, 3)
    one = enrollment(base, 3)
    assert is_reached(base, [(1, a, "charts"), (2, b, "charts"), (9, a, "charts")], one)
    assert not is_reached(base, [(1, a, "charts"), (1, b, "charts"), (9, a, "charts")], one)  # two days only
    stranger = people_of(base, 4)[0]
    assert not is_reached(base, [(1, a, "charts"), (2, b, "charts"), (9, stranger, "charts")], one)


def test_days_count_for_four_weeks_and_only_the_window_decides(base: CustomerBase) -> None:
    a = people_of(base, 3)[0]
    one = enrollment(base, 3)
    assert is_reached(base, [(-27, a, "charts"), (-26, a, "charts"), (0, a, "charts")], one)
    assert not is_reached(base, [(-28, a, "charts"), (-27, a, "charts"), (0, a, "charts")], one)
    assert is_reached(base, [(-13, a, "charts"), (0, a, "charts"), (14, a, "charts")], one)
    assert not is_reached(base, [(-13, a, "charts"), (0, a, "charts"), (15, a, "charts")], one)
    assert not is_reached(base, [(-23, a, "charts"), (-22, a, "charts"), (5, a, "charts")], one)
    assert is_reached(base, [(-22, a, "charts"), (-21, a, "charts"), (5, a, "charts")], one)


def test_the_last_day_counts_until_the_hour_the_window_ends(base: CustomerBase) -> None:
    a = people_of(base, 3)[0]
    days = [(12, a, "charts"), (13, a, "charts"), (14, a, "charts")]
    assert is_reached(base, days, enrollment(base, 3, at=ENTRY.replace(hour=7)))
    assert not is_reached(base, days, enrollment(base, 3, at=ENTRY.replace(hour=5)))


def test_only_taught_features_count_each_by_its_own_threshold(base: CustomerBase) -> None:
    a = people_of(base, 3)[0]
    two_days = [(1, a, "guest_access"), (2, a, "guest_access")]
    mixed = [(1, a, "charts"), (2, a, "charts"), (3, a, "tasks")]
    assert is_reached(base, two_days, enrollment(base, 3, "guest_access"))
    assert not is_reached(base, two_days, enrollment(base, 3, "charts"))
    assert not is_reached(base, mixed, enrollment(base, 3, "charts", "tasks"))
    assert not is_reached(base, mixed, enrollment(base, 3, "unknown_feature"))


def test_lift_is_what_the_mails_added_to_treated_accounts_with_a_closed_window(base: CustomerBase) -> None:
    first = [people_of(base, account)[0] for account in range(10)]
    alone = [(day, first[0], "charts") for day in (1, 2, 3)]
    taught = [(day, first[account], "charts") for account in (1, 2, 5, 6) for day in (4, 5, 6)]
    enrolled = [
        *(enrollment(base, account) for account in (0, 1, 2, 3)),
        enrollment(base, 5, arm="holdout"),
        enrollment(base, 6, at=ENTRY + timedelta(days=1)),
    ]
    mails = [AcceptedMail(to="x", subject="s", accepted_at=ENTRY, features=("charts",))]
    lifts = planted_lifts(base, Diary(base, alone, taught), mails, enrolled, until=ENTRY + FORTNIGHT)
    assert lifts["p"].count_accounts == 4
    assert lifts["p"].goal_share == 0.75
    assert lifts["p"].goal_share_without == 0.25
    assert lifts["p"].lift_abs == 0.5
    assert planted_lifts(base, Diary(base, alone, taught), (), enrolled, until=ENTRY + FORTNIGHT)["p"].lift_abs == 0
    assert planted_lifts(base, Diary(base, alone), mails, enrolled, until=ENTRY) == {}


@pytest.mark.parametrize("seed", [1, 2])
def test_a_simple_programme_has_an_effect_that_a_holdout_can_see(features: tuple[Feature, ...], seed: int) -> None:
    """Three mails to three people of each treated account: the demo's lift must stand clear of its noise."""
    base = simulate(seed, features)
    usage = Usage(base)
    recent = Truth(base, usage, ())
    stays = np.flatnonzero(base.accounts.churned_day > 45)
    place = [feature.key for feature in features].index("saved_views")
    ever = sum(recent._used(day)[:, place].astype(int) for day in range(-120, 0))
    eligible = [account for account in stays.tolist() if ever[account] == 0]
    treated = [account for account in eligible if draw("p", base.account_ids[account]) >= 0.4]
    mails = [
        AcceptedMail(
            to=base.contacts.address[contact],
            subject=f"Stage {stage}",
            accepted_at=ENTRY + timedelta(days=days),
            features=("saved_views",),
        )
        for account in treated
        for contact in people_of(base, account)[:3]
        for stage, days in enumerate((0, 4, 9))
    ]
    enrolled = [
        enrollment(base, account, "saved_views", arm="treatment" if account in treated else "holdout")
        for account in eligible
    ]
    truth = planted_lifts(base, usage, mails, enrolled, until=ENTRY + FORTNIGHT)["p"]
    world = Truth(base, usage, mails)
    held_out = [world.reached(one) for one in enrolled if one.arm == "holdout"]
    measured = truth.goal_share - float(np.mean(held_out))
    p, q = truth.goal_share, float(np.mean(held_out))
    error = (p * (1 - p) / truth.count_accounts + q * (1 - q) / len(held_out)) ** 0.5
    assert truth.count_accounts > 60
    assert 0.02 < truth.goal_share_without < 0.2
    assert 0.15 < truth.lift_abs < 0.45
    assert measured > 3 * error
    assert abs(measured - truth.lift_abs) < 3 * error


@pytest.mark.slow
def test_the_marts_find_the_same_goals_on_the_days_that_really_happened(
    features: tuple[Feature, ...], root: Path, tmp_path: Path
) -> None:
    """Two ways to one number: this module's counting, and raw files through dbt to fct_outcomes."""
    base = simulate(3, features, accounts=60, contacts=600)
    usage, key = Usage(base), open_key_ring(tmp_path).pseudonym
    taught = ("tasks", "charts", "guest_access", "saved_views")
    enrolled, mails, enrollments, contacts = [], [], [], []
    for account, account_id in enumerate(base.account_ids):
        at = ENTRY + timedelta(days=account % 5, hours=account % 11)
        arm = "holdout" if account % 3 == 0 else "treatment"
        pairs = list(zip(people_of(base, account)[:2], (taught[account % 4], taught[account % 3]), strict=False))
        one = enrollment(base, account, *(feature for _, feature in pairs), arm=arm, at=at)
        enrolled.append(one)
        enrollments.append(
            {"enrollment_id": account, "playbook": "p", "account_id": account_id, "entry_no": 1, "arm": arm}
            | {"stratum": "all", "enrolled_at": at.replace(tzinfo=None), "goal_reach": "adopted", "goal_by": "account"}
            | {"window_ends_at": one.window_ends_at.replace(tzinfo=None), "is_measured": True}
        )
        for number, feature in pairs:
            contact = contact_id(key, account_id=account_id, user_id=base.user_ids[number])
            contacts.append({"enrollment_id": account, "contact_id": contact, "feature_key": feature})
            if arm == "treatment":
                to = base.contacts.address[number]
                mails.append(AcceptedMail(to=to, subject="Why", accepted_at=at, features=(feature,)))
    export, raw = tmp_path / "ledger_export", tmp_path / "raw"
    export.mkdir()
    pq.write_table(pa.Table.from_pylist(enrollments), export / "enrollments.parquet")
    pq.write_table(pa.Table.from_pylist(contacts), export / "enrollment_contacts.parquet")
    written = [usage.write_day(raw, base.date_of(day), mails) for day in range(-120, 23)]
    base.write(raw, on=base.date_of(23))
    build = DbtTransformer(project=root / "dbt_project", home=tmp_path).build(
        source="uptake", raw=raw, as_of=ENTRY + timedelta(days=23)
    )
    assert build.counts["lines"] == sum(one.lines for one in written)
    assert build.counts["events"] == sum(one.events for one in written)
    assert build.counts["duplicates"] == sum(one.duplicates for one in written)
    assert build.counts["quarantined"] == sum(one.malformed for one in written)
    with duckdb.connect(str(build.warehouse), read_only=True) as session:
        found = dict(session.sql("select account_id, is_goal_reached from marts.fct_outcomes").fetchall())
    here, without = Truth(base, usage, mails), Truth(base, usage, ())
    assert found == {one.account_id: here.reached(one) for one in enrolled}
    assert found != {one.account_id: without.reached(one) for one in enrolled}
    assert 10 < sum(found.values()) < 50
