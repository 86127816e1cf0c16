from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyarrow as pa
import pytest

from uptake.errors import LedgerError, SnapshotError, TransformError
from uptake.operations.refresh import RefreshResult, refresh
from uptake.ports import Build, Check, Ledger, Snapshot
from uptake.summaries.refresh import refresh_summary
from uptake.testing import FixedClock

AS_OF = datetime(2026, 3, 2, 5, 0, tzinfo=UTC)
NOW = AS_OF + timedelta(hours=1)
COUNTS = {
    "lines": 100, "events": 95, "duplicates": 3, "quarantined": 2, "unattributed": 1, "accounts": 5, "users": 9,
    "features": 4,
}  # fmt: skip
PASSED = Check(name="gx:dim_accounts:keys", status="passed", severity="critical")
VALUE = Check(name="gx:fct_outcomes:keys", status="passed", severity="critical", protects="reports")
DBT = Check(name="dbt:unique_accounts", status="passed", severity="critical")
FRESH = Check(name="dbt:source_freshness:uptake.events", status="passed", severity="critical")


class World:
    """Every port refresh uses, with a log of what happened in which order; `die_at` raises at that step."""

    def __init__(self) -> None:
        self.happened: list[str] = []
        self.die_at = ""
        self.error: BaseException = KeyboardInterrupt()
        self.build_result = Build(
            warehouse=Path("w.duckdb"), invocation_id="i1", as_of=AS_OF, checks=(DBT, FRESH), counts=COUNTS,
            unmapped_events={"odd": 7},
        )  # fmt: skip
        self.suite_checks: Sequence[Check] = (PASSED, VALUE)
        self.held: dict[str, Mapping[str, str]] = {}
        self.required_names = frozenset({PASSED.name})
        self.rows: list[dict[str, Any]] = []
        self.published: dict[str, Mapping[str, str]] = {}
        self.current_id: str | None = None
        self.people_loaded = 0
        self.cited = ["s1", "s2"]

    def step(self, name: str) -> None:
        if name == self.die_at:
            raise self.error
        self.happened.append(name)

    # the ledger
    def export(self, directory: Path) -> None:
        self.step("export")

    def record(self, **row: Any) -> int:
        self.step("gate row")
        self.rows.append(row)
        return len(self.rows)

    def read(self, query: str) -> list[Mapping[str, Any]]:
        assert query == "cited_snapshots"
        self.step("read citations")
        return [{"snapshot_id": snapshot_id} for snapshot_id in self.cited]

    def let_pass(self) -> Mapping[str, frozenset[str]]:
        return {"s1": frozenset({"gate:rows:m"})}

    def load(self, people: pa.Table, *, now: datetime) -> int:
        self.step("load people")
        self.people_loaded += people.num_rows
        return int(people.num_rows)

    # the transformer
    def build(self, *, source: str, raw: Path, as_of: datetime | None) -> Build:
        self.step("build")
        return self.build_result

    def people(self, warehouse: Path) -> pa.Table:
        self.step("read people")
        return pa.table({"contact_id": ["c1", "c2"]})

    # the suites
    def protects(self, name: str) -> Any:
        return "reports" if "outcomes" in name else "mail"

    def run(self, build: Build, *, history: Sequence[Mapping[str, Any]], now: Any) -> tuple[Check, ...]:
        assert now == NOW
        assert history == [{"snapshot_id": "s2", "let_pass": ()}, {"snapshot_id": "s1", "let_pass": {"gate:rows:m"}}]
        self.step("suites")
        return tuple(self.suite_checks)

    # the snapshots
    def history(self, source: str) -> list[Mapping[str, Any]]:
        self.step("history")
        return [{"snapshot_id": "s2"}, {"snapshot_id": "s1"}]

    def publish(self, build: Build, checks: Sequence[Check], *, source: str, git_sha: str, now: datetime) -> Snapshot:
        self.step("publish")
        snapshot_id = f"{build.as_of:%Y%m%dT%H%M%SZ}-00000001"
        self.published[snapshot_id] = {check.name: check.status for check in checks}
        self.current_id = snapshot_id
        return Snapshot(snapshot_id=snapshot_id, as_of=build.as_of, directory=Path(), manifest={})

    def hold(self, build: Build, checks: Sequence[Check], *, source: str, git_sha: str, now: datetime) -> str:
        self.step("hold")
        snapshot_id = f"{build.as_of:%Y%m%dT%H%M%SZ}-00000001"
        self.held = {snapshot_id: {check.name: check.status for check in checks}}
        return snapshot_id

    def prune(self, *, cited: Collection[str], now: datetime) -> Sequence[str]:
        assert (set(cited), now) == (set(self.cited), NOW)
        self.step("prune")
        return ["s3", "s4"]

    def refresh(self) -> RefreshResult:
        ledger = cast(Ledger, SimpleNamespace(export=self.export, gates=self, people=self, read=self.read))
        return refresh(
            self, self, cast(Any, self), ledger, source="uptake", raw=Path("raw"), ledger_export=Path("export"),
            as_of=None, git_sha="abc", clock=FixedClock(NOW),
        )  # fmt: skip

    @property
    def may_mail(self) -> bool:
        """What `operations.gate` asks: a passed row for the current snapshot."""
        newest = [row for row in self.rows if row["snapshot_id"] == self.current_id and self.current_id]
        return bool(newest) and newest[-1]["status"] == "passed"


@pytest.fixture
def world() -> World:
    return World()


def test_a_good_build_is_published_and_its_gate_row_comes_last(world: World) -> None:
    result = world.refresh()
    assert (result.gate, result.reasons) == ("passed", ())
    assert result.snapshot_id == world.current_id == "20260302T050000Z-00000001"
    assert world.happened == [
        "export", "build", "history", "suites", "read people", "publish", "load people", "gate row", "read citations",
        "prune",
    ]  # fmt: skip
    assert world.may_mail
    assert world.people_loaded == 2


def test_old_snapshots_go_last_and_are_counted(world: World) -> None:
    result = world.refresh()
    assert result.count_removed == 2
    assert "Old snapshots that nothing cites, removed: 2." in refresh_summary(result)
    assert world.happened[-3:] == ["gate row", "read citations", "prune"]


def test_a_held_refresh_removes_nothing(world: World) -> None:
    suite_says("failed")(world)
    assert world.refresh().count_removed == 0
    assert "prune" not in world.happened


@pytest.mark.parametrize(
    ("step", "error"),
    [
        ("prune", OSError("read-only")),
        ("prune", SnapshotError("a manifest is damaged")),
        ("read citations", LedgerError("locked")),
    ],
)
def test_old_snapshots_that_cannot_go_take_back_nothing(
    world: World, step: str, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    world.die_at, world.error = step, error
    result = world.refresh()
    assert (result.gate, result.count_removed) == ("passed", 0)
    assert world.may_mail
    assert f"no old snapshot was removed: {error}" in caplog.text


def test_the_gate_row_tells_every_check_by_name(world: World) -> None:
    world.refresh()
    (row,) = world.rows
    assert (row["snapshot_id"], row["status"], row["as_of"], row["now"]) == (world.current_id, "passed", AS_OF, NOW)
    names = {check.name for check in row["checks"]}
    assert {PASSED.name, DBT.name, "gate:lines", "gate:quarantine", "gate:as_of"} <= names
    assert set(world.published[str(world.current_id)]) == names


def test_the_result_has_the_fields_of_the_command_line(world: World) -> None:
    told = json.loads(json.dumps(world.refresh().as_json()))
    assert told == {
        **COUNTS, "unmapped_events": {"odd": 7}, "snapshot_id": "20260302T050000Z-00000001", "gate": "passed",
        "reasons": [],
    }  # fmt: skip


def suite_says(status: Any, severity: Any = "critical") -> Callable[[World], None]:
    def change(world: World) -> None:
        world.suite_checks = (replace(PASSED, status=status, severity=severity, detail="found 2, expected 1"), VALUE)

    return change


def build_says(**changes: Any) -> Callable[[World], None]:
    def change(world: World) -> None:
        world.build_result = replace(world.build_result, **changes)

    return change


def counted(**changes: int) -> Callable[[World], None]:
    return build_says(counts={**COUNTS, **changes})


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (suite_says("failed"), "gx:dim_accounts:keys failed: found 2, expected 1"),
        (suite_says("errored"), "gx:dim_accounts:keys errored: found 2, expected 1"),
        (suite_says("missing"), "gx:dim_accounts:keys missing: found 2, expected 1"),
        (build_says(checks=(replace(DBT, status="failed"), FRESH)), "dbt:unique_accounts failed"),
        (build_says(checks=(replace(DBT, status="missing"), FRESH)), "dbt:unique_accounts missing"),
        (build_says(checks=()), "gate:dbt missing: dbt reported no test; expected its tests and source freshness"),
        (build_says(checks=(DBT,)), "dbt:source_freshness missing: nobody looked how old the newest event is"),
        (lambda world: setattr(world, "suite_checks", ()), "gx:dim_accounts:keys missing: did not run"),
        (counted(events=94), "gate:lines failed: 100 lines; 94 events, 3 duplicates, 2 quarantined"),
        (counted(lines=130, quarantined=32), "gate:quarantine failed: 32 of 130 lines cannot be read"),
        (build_says(counts={}), "gate:lines missing: the load did not count lines"),
        (build_says(as_of=NOW + timedelta(hours=1)), "gate:as_of failed: as_of 2026-03-02 07:00, now 2026-03-02 06:00"),
    ],
)
def test_whatever_blocks_publishes_nothing_and_says_why(
    world: World, spoil: Callable[[World], None], reason: str
) -> None:
    spoil(world)
    result = world.refresh()
    assert (result.gate, result.snapshot_id) == ("held", None)
    assert any(line.startswith(reason) for line in result.reasons), result.reasons
    (row,) = world.rows
    assert (row["status"], tuple(row["reasons"])) == ("held", result.reasons)
    assert row["snapshot_id"] == result.held_snapshot_id in world.held
    assert not world.published
    assert not world.people_loaded
    assert not world.may_mail


@pytest.mark.parametrize("status", ["failed", "errored", "missing"])
def test_a_check_of_value_that_does_not_pass_holds_reports_and_never_mail(world: World, status: Any) -> None:
    world.suite_checks = (PASSED, replace(VALUE, status=status, detail="found 2"))
    result = world.refresh()
    assert (result.gate, result.reports) == ("passed", "held")
    assert result.report_reasons == (f"gx:fct_outcomes:keys {status}: found 2",)
    assert result.unsound[0].name == VALUE.name
    assert world.may_mail
    assert {check.name: check.protects for check in world.rows[0]["checks"]}[VALUE.name] == "reports"


def test_a_test_of_dbt_on_a_value_mart_holds_reports_and_never_mail(world: World) -> None:
    failed = replace(DBT, name="dbt:fct_outcomes_has_one_row", status="failed")
    build_says(checks=(DBT, FRESH, failed))(world)
    assert (world.refresh().gate, world.rows[0]["checks"][2].protects) == ("passed", "reports")


def test_a_candidate_that_cannot_be_kept_either_is_held_without_one(world: World) -> None:
    suite_says("failed")(world)
    world.die_at, world.error = "hold", SnapshotError("mart y is missing")
    result = world.refresh()
    assert (result.gate, result.held_snapshot_id, world.rows[0]["snapshot_id"]) == ("held", None, None)
    assert "gate:publish errored: mart y is missing" in result.reasons


@pytest.mark.parametrize(
    "change", [suite_says("failed", "warning"), suite_says("baseline"), counted(lines=118, quarantined=20)]
)
def test_a_warning_a_baseline_and_a_few_bad_lines_do_not_block(world: World, change: Callable[[World], None]) -> None:
    change(world)
    assert world.refresh().gate == "passed"


@pytest.mark.parametrize(
    ("step", "error", "reason"),
    [
        (
            "suites",
            RuntimeError("boom jane@example.invalid"),
            "gate:suites errored: the suites stopped with RuntimeError",
        ),
        ("history", SnapshotError("snapshot x is damaged"), "gate:history errored: snapshot x is damaged"),
        ("publish", SnapshotError("mart y is missing"), "gate:publish errored: mart y is missing"),
    ],
)
def test_a_gate_that_breaks_holds(world: World, step: str, error: Exception, reason: str) -> None:
    world.die_at, world.error = step, error
    result = world.refresh()
    assert result.gate == "held"
    assert reason in result.reasons
    assert not world.may_mail
    assert not world.people_loaded


def test_a_build_that_fails_leaves_a_held_row_and_says_so(world: World) -> None:
    world.die_at, world.error = "build", TransformError("model x: no such column")
    with pytest.raises(TransformError):
        world.refresh()
    assert [(row["status"], row["reasons"]) for row in world.rows] == [("held", ["dbt: model x: no such column"])]


def test_a_ledger_that_cannot_be_read_stops_before_anything_is_built(world: World) -> None:
    world.die_at, world.error = "export", LedgerError("locked")
    with pytest.raises(LedgerError):
        world.refresh()
    assert world.happened == []


@pytest.mark.parametrize(
    "step", ["export", "build", "history", "suites", "read people", "publish", "load people", "gate row"]
)
def test_killed_at_any_step_no_mail_leaves_and_a_rerun_heals(world: World, step: str) -> None:
    world.die_at = step
    with pytest.raises(KeyboardInterrupt):
        world.refresh()
    assert not world.may_mail
    world.die_at = ""
    world.happened.clear()
    assert world.refresh().gate == "passed"
    assert world.may_mail
    assert len(world.published) == 1


def test_a_held_refresh_leaves_the_last_good_snapshot_in_force(world: World) -> None:
    world.refresh()
    suite_says("failed")(world)
    build_says(as_of=AS_OF + timedelta(minutes=30))(world)
    assert world.refresh().gate == "held"
    assert world.current_id == "20260302T050000Z-00000001"
    assert world.may_mail
