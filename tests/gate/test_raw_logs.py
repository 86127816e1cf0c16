# ruff: noqa: DTZ001  # written as UTC, with a Z
"""Logs that went wrong, through dbt and everything after it; and what must have run is what there is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.gate.conftest import AS_OF, BEFORE, NOW, START, World
from tests.gate.test_corruptions import blocking
from uptake.adapters.required_checks import FILE, out_of_step, read_required
from uptake.adapters.suites_gx import SUITES, GxSuites, read_suite
from uptake.adapters.transformer_dbt import DbtTransformer
from uptake.operations.approve import approve
from uptake.operations.refresh import RefreshResult

pytestmark = pytest.mark.slow

NAMES = ("projects.opened", "tasks.used", "dashboards.used", "comments.used", "search.used", "exports.used")
PEOPLE = [(f"acc-{a}", f"u-{a}-{u}", a + u) for a in range(30) for u in range(3)]


def day_of(day: date, until: datetime | None = None) -> list[dict[str, Any]]:
    """The events of one day: some people use some things, some often and some never."""
    lines: list[dict[str, Any]] = []
    for place, (account, user, kind) in enumerate(PEOPLE):
        for f, name in enumerate(NAMES):
            if (kind + f) % 3 == 0 or (day.toordinal() * 7 + kind * 3 + f * 5) % (3 + f) > 1:
                continue
            for nth in range(1 + (day.toordinal() + place) % 3):
                at = datetime(day.year, day.month, day.day, (place + nth * 5) % 24, (place * 7) % 60)
                if until is None or at < until.replace(tzinfo=None):
                    lines.append(
                        {"event_id": f"{day}-{place}-{f}-{nth}", "occurred_at": f"{at.isoformat()}Z",
                         "account_id": account, "user_id": user, "event_name": name}
                    )  # fmt: skip
    return lines


def write_lines(path: Path, lines: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def write_days(raw: Path, first: date, until: datetime) -> None:
    for n in range((until.date() - first).days + 1):
        day = first + timedelta(days=n)
        write_lines(raw / f"events/{day}.ndjson", day_of(day, until))


def file_of(raw: Path, days_ago: int) -> Path:
    return raw / f"events/{AS_OF.date() - timedelta(days=days_ago)}.ndjson"


@dataclass
class Log:
    """A raw folder, its home, and dbt."""

    raw: Path
    world: World
    project: Path

    def refresh(self, *, as_of: datetime = AS_OF, now: datetime = NOW) -> RefreshResult:
        transformer = DbtTransformer(project=self.project, home=self.world.home)
        return self.world.refresh_with(transformer, now=now, raw=self.raw, as_of=as_of)


@pytest.fixture(scope="module")
def two_days_ago(root: Path, suites: GxSuites, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose playbook ran on the log of two days ago; the raw folder is in it."""
    home = tmp_path_factory.mktemp("raw") / "home"
    raw = home / "raw"
    write_days(raw, START, BEFORE)
    accounts = [
        {"account_id": f"acc-{n}", "plan": "team", "created_at": "2025-06-01T00:00:00Z", "arr": 1000.0 + n,
         "currency": "EUR", "seats": 5}
        for n in range(30)
    ]  # fmt: skip
    write_lines(raw / "accounts.ndjson", accounts)
    contacts = [
        {"account_id": account, "user_id": user, "address": f"{user}@example.invalid"} for account, user, _ in PEOPLE
    ]
    write_lines(raw / "contacts.ndjson", contacts)
    log = Log(raw, World(home, suites), root / "dbt_project")
    then = BEFORE + timedelta(hours=1)
    assert log.refresh(as_of=BEFORE, now=then).reasons == ()
    approve(log.world.ledger, plan_id=log.world.plan(now=then).plan.plan_id, by="Ada", now=then)
    assert log.world.tick(now=then)[1] > 20
    log.world.ledger.close()
    return home


@pytest.fixture
def log(two_days_ago: Path, root: Path, suites: GxSuites, tmp_path: Path) -> Iterator[Log]:
    """That home, with the two days that have come since."""
    home = tmp_path / "home"
    shutil.copytree(two_days_ago, home)
    write_days(home / "raw", BEFORE.date(), AS_OF)
    found = Log(home / "raw", World(home, suites), root / "dbt_project")
    yield found
    found.world.ledger.close()


def half_of_it_is_missing(raw: Path) -> None:
    for days_ago in range(4, 40, 2):
        file_of(raw, days_ago).unlink()


def the_clock_is_ahead(raw: Path) -> None:
    lines = read_lines(file_of(raw, 1))
    for line in lines:
        at = datetime.fromisoformat(line["occurred_at"].removesuffix("Z")) + timedelta(hours=20)
        line["occurred_at"] = f"{at.isoformat()}Z"
    write_lines(file_of(raw, 1), lines)


def a_field_has_another_name(raw: Path) -> None:
    for days_ago in range(10):
        path = file_of(raw, days_ago)
        path.write_text(path.read_text().replace('"account_id"', '"org_id"'))


def a_day_is_a_copy(raw: Path) -> None:
    before, after = (f"{AS_OF.date() - timedelta(days=n)}" for n in (2, 1))
    file_of(raw, 1).write_text(file_of(raw, 2).read_text().replace(before, after))


def plans_are_in_capitals(raw: Path) -> None:
    lines = read_lines(raw / "accounts.ndjson")
    write_lines(raw / "accounts.ndjson", [{**line, "plan": line["plan"].upper()} for line in lines])


@pytest.mark.parametrize(
    ("spoil", "name"),
    [
        (half_of_it_is_missing, "gate:past:days"),
        (the_clock_is_ahead, "gate:future"),
        (a_field_has_another_name, "gate:quarantine"),
        (a_day_is_a_copy, "gx:fct_account_feature_daily:unexpected_rows_expectation:no_day_is_a_copy"),
        (plans_are_in_capitals, "gate:drift:accounts"),
    ],
)
def test_a_spoiled_log_ends_in_no_mail_and_the_right_reason(log: Log, spoil: Callable[[Path], None], name: str) -> None:
    spoil(log.raw)
    result = log.refresh()
    assert name in blocking(result.checks), result.reasons
    decided, mails = log.world.tick()
    assert mails == 0
    assert decided.gate_held is not None
    assert "the last refresh was held" in decided.gate_held


def test_a_log_that_went_on_as_before_passes_and_everything_that_must_run_ran(log: Log, root: Path) -> None:
    result = log.refresh()
    assert result.reasons == ()
    assert log.world.tick()[1] > 20

    # What dbt and the suites have, each with its severity, is what the committed list requires, line by line.
    folder = root / "expectations"
    known = dict.fromkeys(GxSuites.own_names | {"gate:lines", "gate:quarantine", "gate:as_of"}, "critical")
    for place in SUITES:
        _, names = read_suite(folder / place.file, place.relation)
        rules = json.loads((folder / place.file).read_text())["expectations"]
        known |= {name: rule["severity"] for name, rule in zip(names, rules, strict=True)}
    by_dbt = {check.name: check.severity for check in result.checks if check.name.startswith("dbt:")}
    known |= {name: severity for name, severity in by_dbt.items() if not name.startswith("dbt:source_freshness")}
    assert out_of_step(read_required(folder / FILE), known) == []


def test_the_defects_of_ravenstack_are_found_with_their_counts_and_nothing_else(
    root: Path, suites: GxSuites, shared_data: Path, tmp_path: Path
) -> None:
    (tmp_path / "home").mkdir()
    world = World(tmp_path / "home", suites)
    transformer = DbtTransformer(project=root / "dbt_project", home=world.home)
    result = world.refresh_with(transformer, raw=shared_data / "ravenstack", source="ravenstack")
    assert result.reasons == ()
    found = {check.name.split(":")[-1]: check.detail.split(" rows")[0] for check in result.unsound}
    assert found == {
        "an_id_is_one_event": "21",
        "inside_its_subscription": "19432",
        "who_churned_is_flagged": "277",
        "who_is_flagged_churned": "35",
        "no_byte_order_mark": "5",
    }
    world.ledger.close()
