"""The demo's loop, on a small world that keeps its state on disk as the real one does."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

import uptake.sandbox.demo as demo
from uptake.adapters.clock import SandboxClock
from uptake.errors import Held, Refused
from uptake.sandbox.base import CustomerBase, simulate
from uptake.sandbox.catalogue import read_catalogue
from uptake.sandbox.demo import START, DemoPlan, Refreshed, prepare_home, run_demo
from uptake.sandbox.demo_table import Figures, MeasuredLift, PlaybookFigures
from uptake.sandbox.files import read_accept_log
from uptake.sandbox.ports import marker_path
from uptake.sandbox.truth import Enrollment

PLAN = DemoPlan(playbooks=("charts", "views"), days=4, tick_hours=(1, 9), refresh_every=2, history_days=3)


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


class World:
    """A product in twenty lines: one mail to each treated account and tick, never the same one twice."""

    def __init__(self, home: Path, base: CustomerBase, *, kill_at: int = -1) -> None:
        self._home, self._base = home, base
        self._kill_at = kill_at
        self.calls: list[str] = []

    def _call(self, name: str, now: datetime) -> None:
        if len(self.calls) == self._kill_at:
            raise Killed
        self.calls.append(f"{now:%d %H} {name}")

    def _state(self) -> dict[str, list[str]]:
        path = self._home / "ledger.json"
        return json.loads(path.read_text()) if path.exists() else {"snapshots": [], "approved": [], "events": []}

    def _add(self, table: str, value: str) -> None:
        state = self._state()
        state[table] = sorted({*state[table], value})
        (self._home / "ledger.json").write_text(json.dumps(state))

    def refresh(self, *, now: datetime) -> Refreshed:
        self._call("refresh", now)
        self._add("snapshots", f"{now.isoformat()} {digest(self._home / 'raw')}")
        return Refreshed(is_passed=True)

    def plan(self, playbook: str, *, now: datetime) -> str:
        self._call(f"plan {playbook}", now)
        return f"plan-{playbook}"

    def approve(self, plan_id: str, *, by: str, now: datetime) -> None:
        self._call(f"approve {plan_id}", now)
        self._add("approved", f"{plan_id} {by}")

    def tick(self, *, now: datetime) -> int:
        log = self._home / "fakegrid" / "accepted.jsonl"
        self._call("tick", now)
        log.parent.mkdir(exist_ok=True)
        sent = {(mail.to, mail.subject) for mail in read_accept_log(log)}
        count = 0
        for account in range(4):
            contact = self._base.contacts.account.tolist().index(account)
            to, subject = self._base.contacts.address[contact], f"mail of {now:%d %H}"
            if (to, subject) in sent:
                continue
            line = {"send_id": f"{to} {subject}", "to": to, "accepted_at": now.isoformat(), "subject": subject}
            with log.open("a") as file:
                file.write(json.dumps({**line, "links": ["https://e.com/guides/charts"]}) + "\n")
            count += 1
        return count

    def post_events(self, *, now: datetime) -> int:
        self._call("post", now)
        return 0

    def record_delivery(self, *, now: datetime) -> int:
        self._call("record", now)
        self._add("events", now.isoformat())
        return 0

    def measure(self, *, now: datetime) -> None:
        self._call("measure", now)

    def report(self, *, now: datetime) -> Mapping[str, Path]:
        self._call("report", now)
        return {"Value report": self._home / "reports" / "value.html"}

    def enrollments(self) -> Sequence[Enrollment]:
        return [
            Enrollment(
                playbook="charts",
                account_id=self._base.account_ids[account],
                arm="treatment",
                enrolled_at=START + timedelta(hours=9),
                window_ends_at=START + timedelta(days=3),
                features=frozenset({"charts"}),
            )
            for account in range(4)
        ]

    def figures(self, *, now: datetime) -> Figures:
        charts = PlaybookFigures(
            playbook="charts",
            enrolled={"treatment": 4, "holdout": 3},
            count_sent=len(read_accept_log(self._home / "fakegrid" / "accepted.jsonl")),
            lift=MeasuredLift(lift_abs=0.21, ci_lower=0.1, ci_upper=0.32),
        )
        views = PlaybookFigures(playbook="views", enrolled={}, count_sent=0, lift=None)
        return Figures(
            count_accounts=10,
            breadth_before=0.21,
            breadth_after=0.25,
            playbooks=(charts, views),
            withheld={"gate_held": 7, "capped_person": 2},
        )


def digest(folder: Path) -> str:
    """Return one hash over every file below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    whole = hashlib.sha256()
    for path in files:
        whole.update(f"{path.relative_to(folder)}".encode() + path.read_bytes())
    return whole.hexdigest()


@pytest.fixture(scope="module")
def base(root: Path) -> CustomerBase:
    features = read_catalogue(root / "dbt_project" / "seeds" / "feature_catalog.csv")
    return simulate(7, features, accounts=10, contacts=40)


def run(home: Path, base: CustomerBase, world: World | None = None, plan: DemoPlan = PLAN) -> str:
    """Run the demo as a new process would, and return what it printed."""
    prepare_home(home, fresh=False)
    console = Console(file=StringIO(), width=140)
    clock = SandboxClock(home / "sandbox" / "clock", start=START)
    world = world or World(home, base)
    run_demo(world, base=base, plan=plan, home=home, raw=home / "raw", clock=clock, console=console)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


@pytest.fixture(scope="module")
def finished(base: CustomerBase, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, World, str]:
    home = tmp_path_factory.mktemp("finished") / "home"
    world = World(home, base)
    return home, world, run(home, base, world)


def test_the_table_shows_measured_lift_beside_the_planted_truth(finished: tuple[Path, World, str]) -> None:
    printed = finished[2]
    assert "21.0%" in printed
    assert "+21.0" in printed
    assert "+10.0 to +32.0" in printed
    assert "planted truth" in printed
    assert "which only a demo can" in printed
    assert "too early to say" in printed
    assert "gate held" in printed
    assert "value.html" in printed


def test_each_day_lives_in_order(finished: tuple[Path, World, str]) -> None:
    calls = finished[1].calls
    launch = ["plan charts", "approve plan-charts", "plan views", "approve plan-views"]
    tick = ["post", "record", "tick"]
    expected = [
        *(f"02 06 {name}" for name in ("refresh", *launch)),
        *(f"02 09 {name}" for name in tick),
        *(f"03 {hour} {name}" for hour in ("01", "09") for name in tick),
        *(f"04 01 {name}" for name in tick),
        "04 06 refresh",
        *(f"04 09 {name}" for name in tick),
        *(f"05 {hour} {name}" for hour in ("01", "09") for name in tick),
        *(f"06 06 {name}" for name in ("post", "record", "refresh", "measure", "report")),
    ]
    assert calls == expected


def test_every_day_has_its_file_and_the_last_one_too(finished: tuple[Path, World, str]) -> None:
    days = sorted(path.stem for path in (finished[0] / "raw" / "events").iterdir())
    first = START - timedelta(days=3)
    assert days == [f"{first + timedelta(days=day):%Y-%m-%d}" for day in range(7)]


def test_killed_anywhere_and_started_again_it_ends_in_the_same_state(
    base: CustomerBase, finished: tuple[Path, World, str], tmp_path: Path
) -> None:
    home, world, printed = finished
    expected = {path: digest(home / path) for path in ("raw", "fakegrid")} | {
        "ledger": (home / "ledger.json").read_text()
    }
    for number in range(len(world.calls)):
        other = tmp_path / str(number)
        with pytest.raises(Killed):
            run(other, base, World(other, base, kill_at=number))
        second = World(other, base)
        assert run(other, base, second).splitlines()[-1].replace(str(other), str(home)) == printed.splitlines()[-1]
        assert number < 5 or len(second.calls) < len(world.calls)
        found = {path: digest(other / path) for path in ("raw", "fakegrid")}
        assert found | {"ledger": (other / "ledger.json").read_text()} == expected


def test_killed_at_any_marker_it_ends_in_the_same_state(
    base: CustomerBase, finished: tuple[Path, World, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = finished[0]
    written = demo.write_json
    for number in range(1, 20, 3):
        for before in (True, False):
            other, left = tmp_path / f"{number}-{before}", [number]

            def write(path: Path, value: Mapping[str, object], left: list[int] = left, before: bool = before) -> None:
                left[0] -= 1
                if left[0] == 0 and before:
                    raise Killed
                written(path, value)
                if left[0] == 0:
                    raise Killed

            monkeypatch.setattr(demo, "write_json", write)
            with pytest.raises(Killed):
                run(other, base)
            monkeypatch.setattr(demo, "write_json", written)
            run(other, base)
            assert digest(other / "fakegrid") == digest(home / "fakegrid")
            assert digest(other / "raw") == digest(home / "raw")


def test_run_again_when_finished_it_does_nothing_and_prints_the_table_again(base: CustomerBase, tmp_path: Path) -> None:
    home = tmp_path / "home"
    first = run(home, base)
    state = digest(home)
    again = World(home, base)
    assert run(home, base, again)[-800:] == first[-800:]
    assert again.calls == []
    assert digest(home) == state


def test_fresh_starts_over_and_only_in_a_demos_home(base: CustomerBase, tmp_path: Path) -> None:
    home = tmp_path / "home"
    run(home, base)
    prepare_home(home, fresh=True)
    assert [path.name for path in home.rglob("*") if path.is_file()] == ["demo.json"]
    run(home, base)
    real = tmp_path / "real"
    real.mkdir()
    (real / "ledger.sqlite3").write_text("precious")
    for fresh in (False, True):
        with pytest.raises(Refused, match="no demo's home"):
            prepare_home(real, fresh=fresh)
    assert (real / "ledger.sqlite3").read_text() == "precious"


def test_fresh_removes_no_file_that_a_link_leads_to(base: CustomerBase, tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("precious")
    prepare_home(home, fresh=False)
    (home / "link").symlink_to(elsewhere)
    prepare_home(home, fresh=True)
    assert not (home / "link").exists()
    assert (elsewhere / "file").read_text() == "precious"


def test_another_demo_in_the_same_home_is_refused(base: CustomerBase, tmp_path: Path) -> None:
    home = tmp_path / "home"
    run(home, base)
    with pytest.raises(Refused, match="FRESH=1"):
        run(home, simulate(8, base.features, accounts=10, contacts=40))
    assert json.loads(marker_path(home).read_text())["done"] > 0


def test_a_first_refresh_that_is_held_stops_the_demo_with_its_reason(base: CustomerBase, tmp_path: Path) -> None:
    home = tmp_path / "home"

    class Holding(World):
        def refresh(self, *, now: datetime) -> Refreshed:
            return Refreshed(is_passed=False, reasons=("accounts_current is empty",))

    with pytest.raises(Held, match="accounts_current is empty"):
        run(home, base, Holding(home, base))
    assert not (home / "fakegrid").exists()
