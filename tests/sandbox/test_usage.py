"""A day of simulated usage."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from uptake.sandbox.base import NEVER, CustomerBase, simulate
from uptake.sandbox.catalogue import read_catalogue
from uptake.sandbox.files import AcceptedMail, read_accept_log
from uptake.sandbox.habits import MAX_DELAY, arrival, reads, taught_from
from uptake.sandbox.usage import DayFile, Usage

MONDAY = date(2026, 3, 2)
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def base(root: Path) -> CustomerBase:
    features = read_catalogue(root / "dbt_project" / "seeds" / "feature_catalog.csv")
    return simulate(7, features, accounts=60, contacts=900)


@pytest.fixture(scope="module")
def usage(base: CustomerBase) -> Usage:
    return Usage(base)


def mail(base: CustomerBase, contact: int, feature: str = "projects", *, subject: str = "Why", at: datetime = NOON):
    return AcceptedMail(to=base.contacts.address[contact], subject=subject, accepted_at=at, features=(feature,))


def mails_to_everybody(base: CustomerBase) -> list[AcceptedMail]:
    return [mail(base, contact, "saved_views") for contact in range(len(base.contacts))]


def readable(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Return the lines that are events, and how many are none."""
    good, bad = [], 0
    for line in path.read_text().splitlines():
        try:
            row = json.loads(line)
            datetime.fromisoformat(row["occurred_at"])
            good.append(row)
        except ValueError:
            bad += 1
    return good, bad


def test_a_day_is_the_same_whatever_was_written_before(base: CustomerBase, tmp_path: Path) -> None:
    mails = mails_to_everybody(base)
    in_order, alone = Usage(base), Usage(base)
    for day in range(10):
        in_order.write_day(tmp_path / "a", MONDAY + timedelta(days=day), mails)
    alone.write_day(tmp_path / "b", MONDAY + timedelta(days=9), mails)
    name = Path("events") / "2026-03-11.ndjson"
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_mail_changes_no_day_up_to_its_own(base: CustomerBase, usage: Usage, tmp_path: Path) -> None:
    mails = mails_to_everybody(base)
    for day in range(-2, 4):
        on = MONDAY + timedelta(days=day)
        usage.write_day(tmp_path / "with", on, mails)
        usage.write_day(tmp_path / "without", on, ())
        same = (tmp_path / "with/events" / f"{on}.ndjson").read_bytes() == (
            tmp_path / "without/events" / f"{on}.ndjson"
        ).read_bytes()
        assert same == (day <= 0)


def test_mails_only_ever_add_use(base: CustomerBase, usage: Usage) -> None:
    with_mails, without = usage.lessons(mails_to_everybody(base)), usage.lessons(())
    for day in range(0, 20, 3):
        here, there = usage.uses(day, with_mails), usage.uses(day, without)
        assert not (there & ~here).any()
        added = np.nonzero(here & ~there)[1]
        assert set(added.tolist()) <= {[feature.key for feature in base.features].index("saved_views")}


def test_what_nobody_paid_for_is_not_used_even_when_taught(base: CustomerBase, usage: Usage) -> None:
    mails = [mail(base, contact, "data_residency") for contact in range(len(base.contacts))]
    lessons = usage.lessons(mails)
    may = base.entitled[base.plan_on(12)][base.contacts.account]
    assert (lessons < NEVER).any()
    assert not (usage.uses(12, lessons) & ~may).any()


def test_somebody_who_learned_uses_it_on_three_days_of_ten(base: CustomerBase, usage: Usage) -> None:
    lessons = usage.lessons(mails_to_everybody(base))
    place = [feature.key for feature in base.features].index("saved_views")
    may = base.entitled[base.plan_on(0)][base.contacts.account][:, place]
    stays = (base.accounts.churned_day[base.contacts.account] > 90) & (base.contacts.created_day < 0)
    learners = np.flatnonzero((lessons[:, place] < NEVER) & may & stays)
    days = sum(usage.uses(day, lessons)[learners, place].astype(int) for day in range(1 + MAX_DELAY, 11 + MAX_DELAY))
    assert len(learners) > 30
    assert np.mean(days >= 3) > 0.75


def test_later_mails_teach_fewer_and_nobody_learns_twice(base: CustomerBase) -> None:
    def learned(count: int) -> int:
        mails = [
            mail(base, contact, subject=f"Stage {stage}", at=NOON + timedelta(days=4 * stage))
            for contact in range(len(base.contacts))
            for stage in range(count)
        ]
        return int((taught_from(base, mails) < NEVER).sum())

    by_one, by_two, by_three = learned(1), learned(2), learned(3)
    assert by_one > by_two - by_one > by_three - by_two > 0


def test_a_mail_that_did_not_arrive_or_was_not_read_teaches_nobody(base: CustomerBase) -> None:
    mails = mails_to_everybody(base)
    lessons = taught_from(base, mails)
    unread = [
        contact
        for contact in range(len(base.contacts))
        if not reads(base, mails[contact].to, "Why") or arrival(base.seed, mails[contact].to, "Why") != "delivered"
    ]
    assert len(unread) > 100
    assert (lessons[unread] == NEVER).all()


def test_mails_to_strangers_and_about_nothing_known_teach_nobody(base: CustomerBase) -> None:
    stranger = AcceptedMail(to="someone@example.invalid", subject="Why", accepted_at=NOON, features=("projects",))
    assert (taught_from(base, [stranger, *(mail(base, contact, "no_such") for contact in range(50))]) == NEVER).all()


def test_the_order_of_the_accept_log_does_not_matter(base: CustomerBase) -> None:
    mails = [
        mail(base, contact, subject=f"Stage {stage}", at=NOON + timedelta(days=stage))
        for contact in range(200)
        for stage in range(3)
    ]
    assert (taught_from(base, mails) == taught_from(base, mails[::-1])).all()


def test_lines_are_events_duplicates_and_malformed_ones(usage: Usage, tmp_path: Path) -> None:
    written: list[DayFile] = []
    events, bad, ids = [], 0, []
    for day in range(-120, -60):
        on = MONDAY + timedelta(days=day)
        written.append(usage.write_day(tmp_path, on, ()))
        good, broken = readable(tmp_path / "events" / f"{on}.ndjson")
        events += good
        bad += broken
        ids += [row["event_id"] for row in good]
    assert sum(one.lines for one in written) == len(events) + bad
    assert sum(one.malformed for one in written) == bad > 0
    assert sum(one.duplicates for one in written) == len(ids) - len(set(ids)) > 0
    assert sum(one.events for one in written) == len(set(ids))
    names = {row["event_name"] for row in events}
    assert {"projects.used", "tasks.created", "system.nightly_job"} <= names


def test_late_events_come_with_a_later_day_and_say_so(usage: Usage, tmp_path: Path) -> None:
    late = on_time = 0
    seen: set[str] = set()
    for day in range(-120, -90):  # history begins on -120: whatever is late has its day in here
        on = MONDAY + timedelta(days=day)
        usage.write_day(tmp_path, on, ())
        for row in readable(tmp_path / "events" / f"{on}.ndjson")[0]:
            is_late = row["occurred_at"][:10] < on.isoformat() and row["event_id"] not in seen
            late, on_time = late + is_late, on_time + (not is_late)
            seen.add(row["event_id"])
            assert row["occurred_at"][:10] <= on.isoformat()
            if is_late:
                assert row["received_at"][:10] == on.isoformat()
    assert 0.002 < late / on_time < 0.02


def test_people_work_in_their_own_daytime(base: CustomerBase, usage: Usage, tmp_path: Path) -> None:
    hours: dict[str, list[int]] = {"apac": [], "na": []}
    regions = ("na", "uk", "dach", "south_eu", "apac", "latam")
    region_of = {one: regions[place] for one, place in zip(base.account_ids, base.accounts.region, strict=True)}
    usage.write_day(tmp_path, MONDAY, ())
    for row in readable(tmp_path / "events" / "2026-03-02.ndjson")[0]:
        if "user_id" in row and region_of[row["account_id"]] in hours:
            hours[region_of[row["account_id"]]].append(int(row["occurred_at"][11:13]))
    assert np.mean([13 <= hour <= 23 for hour in hours["na"]]) > 0.75
    assert np.mean([13 <= hour <= 20 for hour in hours["apac"]]) < 0.25


def test_weekends_are_quiet_and_churned_accounts_silent(base: CustomerBase, usage: Usage) -> None:
    none = usage.lessons(())
    monday, saturday = usage.uses(0, none), usage.uses(5, none)
    assert saturday.sum() < monday.sum() / 3
    gone = base.accounts.churned_day[base.contacts.account] <= 0
    assert gone.any()
    assert not monday[gone].any()


def test_habits_follow_a_power_law(usage: Usage) -> None:
    none = usage.lessons(())
    uses = np.sort(sum(usage.uses(day, none).sum(axis=0) for day in range(-28, 0)))[::-1]
    assert uses[:8].sum() > 0.6 * uses.sum()
    assert uses[20:].sum() < 0.25 * uses.sum()


def test_an_accept_log_cut_off_by_a_kill_is_read_to_its_last_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "accepted.jsonl"
    assert read_accept_log(path) == []
    line = {
        "send_id": "s",
        "to": "Ada@example.invalid",
        "accepted_at": "2026-03-02T09:00:00+00:00",
        "message_id": "m",
        "subject": "Try it",
        "links": [
            "https://learn.example.com/guides/saved_views?x=1",
            "https://example.com/",
            "https://e.com/guides/sso",
        ],
    }
    path.write_text(json.dumps(line) + "\n" + json.dumps(line)[:50])
    (found,) = read_accept_log(path)
    assert found.to == "ada@example.invalid"
    assert found.features == ("saved_views", "sso")
    assert found.day == MONDAY
