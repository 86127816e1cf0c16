"""Raw lines as dbt leaves them in the warehouse: each one an event, a duplicate or quarantined, and read once."""

from __future__ import annotations

import gzip
import os
import random
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.adapters.warehouses import AS_OF, UntestedTransformer, builder, event, rows, write
from tests.dbt_copy import copy_of_project
from uptake.adapters.transformer_dbt import DbtTransformer
from uptake.errors import TransformError
from uptake.ports import Build

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One home for all tests here: dbt parses once."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def build(root: Path, home: Path) -> Callable[..., Build]:
    return builder(root, home)


MARTS_OF_EVENTS = ("fct_account_feature_daily", "account_features", "contact_features", "accounts_current")


def marts(build: Build) -> dict[str, list[tuple[Any, ...]]]:
    return {mart: rows(build, f"select * from marts.{mart} order by all") for mart in MARTS_OF_EVENTS}


# --- lines -----------------------------------------------------------------------------------------------------


BAD_FILE = b"\n".join(
    [
        event("2026-03-01T10:00:00Z").encode(),  # 1
        b"",  # 2: blank lines are no lines
        b'{"occurred_at":"2026-03-01T10:00:00Z","account_id":"a\x001","event_name":"x"}',  # 3: NUL byte
        b"[1, 2]",  # 4
        b'{"occurred_at": "2026-03-01T10:0',  # 5: truncated
        b'{"occurred_at":"2026-03-01T10:00:00Z","account_id":"\xff\xfe","event_name":"x"}',  # 6: not UTF-8
        b"  \t ",  # 7: blank
        b'"text"',  # 8
        b'{"account_id":"a1","event_name":"x"}',  # 9
        b'{"occurred_at":"yesterday","account_id":"a1","event_name":"x"}',  # 10
        b'{"occurred_at":"2026-03-01T10:00:00Z","event_name":"x"}',  # 11
        b'{"occurred_at":"2026-03-01T10:00:00Z","account_id":"a1","event_name":""}',  # 12
        b'{"occurred_at":"infinity","account_id":"a1","event_name":"x"}',  # 13
        event("2026-03-01T10:00:00Z").encode(),  # 14: the same line again is the same thing happening again
        event("2026-03-01T11:00:00+02:00", user=None).encode() + b"\r",  # 15
        b'{"occurred_at":"2026-03-01T10:00:00Z","account_id":"a1","event_name":"x"} trailing',  # 16
        event("2026-03-01T12:00:00Z", event_id="e1").encode(),  # 17
        event("2026-03-01T12:00:00Z", event_id="e1").encode(),  # 18: a duplicate
        event("9999-12-31T23:00:00-08:00").encode(),  # 19: after the last year that anything here can say
        event("20000-01-01T00:00:00Z").encode(),  # 20
        event("0001-01-01T00:00:00+08:00").encode(),  # 21
        event("2026-03-09T12:00:00Z").encode(),  # 22: in the future, and without a newline
    ]
)


def test_every_line_is_an_event_a_duplicate_or_quarantined_with_its_number(build, tmp_path):
    raw = write(tmp_path, accounts=[{"account_id": "a1"}, "{broken", {"plan": "team"}], events_empty=[])
    (raw / "events/bad.ndjson").write_bytes(BAD_FILE)
    with gzip.open(raw / "events/packed.ndjson.gz", "wb") as file:
        file.write(b"\n" + event("2026-03-01T10:00:00Z", account="a2").encode() + b"\nbroken")

    done = build(raw, is_tested=True)

    assert {name: done.counts[name] for name in ("lines", "events", "duplicates", "quarantined", "unattributed")} == {
        "lines": 22, "events": 6, "duplicates": 1, "quarantined": 15, "unattributed": 1,
    }  # fmt: skip
    assert rows(done, "select file, line_no, reason from staging.stg_quarantine order by all") == [
        ("accounts.ndjson", 2, "not JSON in UTF-8"),
        ("accounts.ndjson", 3, "no account_id"),
        ("events/bad.ndjson", 3, "not JSON in UTF-8"),
        ("events/bad.ndjson", 4, "not a JSON object with account_id, event_name and occurred_at"),
        ("events/bad.ndjson", 5, "not JSON in UTF-8"),
        ("events/bad.ndjson", 6, "not JSON in UTF-8"),
        ("events/bad.ndjson", 8, "not a JSON object with account_id, event_name and occurred_at"),
        ("events/bad.ndjson", 9, "no occurred_at"),
        ("events/bad.ndjson", 10, "occurred_at is not an ISO 8601 time"),
        ("events/bad.ndjson", 11, "no account_id"),
        ("events/bad.ndjson", 12, "no event_name"),
        ("events/bad.ndjson", 13, "occurred_at is not an ISO 8601 time"),
        ("events/bad.ndjson", 16, "not JSON in UTF-8"),
        ("events/bad.ndjson", 19, "occurred_at is not an ISO 8601 time"),
        ("events/bad.ndjson", 20, "occurred_at is not an ISO 8601 time"),
        ("events/bad.ndjson", 21, "occurred_at is not an ISO 8601 time"),
        ("events/packed.ndjson.gz", 3, "not JSON in UTF-8"),
    ]
    assert rows(done, "select max(date_day) from marts.fct_account_feature_daily") == [(date(2026, 3, 1),)]
    assert [check for check in done.checks if check.blocks] == []


def test_shuffled_and_downloaded_again_the_same_events_give_the_same_marts(build, tmp_path):
    chance = random.Random(11)
    lines = [
        event(
            (datetime(2026, 2, 1, tzinfo=UTC) + timedelta(hours=chance.randrange(600))).isoformat(),
            chance.choice(["dashboards.used", "exports.used", "session.started"]),
            account=chance.choice(["a1", "a2"]),
            user=chance.choice(["u1", "u2", None]),
            event_id=f"e{number}" if number % 2 else None,
            received_at=chance.choice([None, "2026-03-01T00:00:00Z"]),
        )
        for number in range(300)
    ]
    lines += lines[:7]  # without an id: events; with one: duplicates
    first = build(write(tmp_path / "first", events_1=lines))
    expected, ids = marts(first), rows(first, "select event_id from staging.stg_usage_events order by 1")

    chance.shuffle(lines)
    again = build(write(tmp_path / "again", events_1=lines, events_2=lines))

    assert marts(again) == expected
    assert rows(again, "select event_id from staging.stg_usage_events order by 1") == ids
    assert again.counts["duplicates"] == first.counts["duplicates"] + len(lines)


def test_absent_inputs_are_empty_and_an_unmapped_event_is_counted(build, tmp_path):
    done = build(write(tmp_path, events_1=[event("2026-03-01T10:00:00Z", "no.such_thing")]))
    assert done.unmapped_events == {"no.such_thing": 1}
    assert rows(done, "select account_id, plan, churned, seats from marts.dim_accounts") == [
        ("a1", "default", False, None)
    ]
    assert rows(done, "select health_coverage < 1, seats_used_share from marts.accounts_current") == [(True, None)]


# --- read once ---------------------------------------------------------------------------------------------------


STAGED = (
    "select * exclude (read_order) from staging.stg_event_lines",
    "select * from staging.stg_usage_events",
    "select * from staging.stg_quarantine",
    "select * from staging.stg_load_counts",
)


@pytest.fixture
def stage(root: Path) -> Callable[[Path, Path], dict[str, list[tuple[Any, ...]]]]:
    """Build only what is made of event lines, and return it."""

    def run(home: Path, raw: Path) -> dict[str, list[tuple[Any, ...]]]:
        transformer = DbtTransformer(project=root / "dbt_project", home=home)
        home.mkdir(exist_ok=True)
        with transformer._environment(source="uptake", raw=raw, as_of=AS_OF.isoformat()):
            models = ["stg_quarantine", "stg_usage_events", "+stg_load_counts", "--exclude-resource-type", "test"]
            results = transformer._invoke(["build", "--select", *models], transformer._manifest("uptake"))
        failed = [result.message for result in results if result.status == "error"]
        if failed:
            raise TransformError(failed[0])
        with duckdb.connect(str(transformer.warehouse), read_only=True) as session:
            return {query: session.sql(f"{query} order by all").fetchall() for query in STAGED}

    return run


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take every file for one that lies there for long, though the tests have just written it."""
    monkeypatch.setattr("uptake.adapters.dbt_plugin._UNSETTLED_NS", -1)


@pytest.mark.usefixtures("settled")
def test_a_file_that_did_not_change_is_not_read_again(stage, tmp_path, monkeypatch):
    raw = write(tmp_path / "raw", events_1=[event("2026-03-01T10:00:00Z")], events_2=["{broken"])
    first = stage(tmp_path / "home", raw)
    version = (raw / "events/events_1.ndjson").stat()
    monkeypatch.setattr(
        "uptake.adapters.dbt_plugin._state_of",
        lambda path: version if path.endswith("events_1.ndjson") else Path(path).stat(),
    )
    state = stage(tmp_path / "home", raw)
    write(raw, events_1=[event("2026-03-02T10:00:00Z")])
    assert state == first
    assert stage(tmp_path / "home", raw)[STAGED[1]] == first[STAGED[1]]


def test_a_file_rewritten_at_once_with_the_same_size_and_time_is_read_again(stage, tmp_path):
    raw = write(tmp_path / "raw", events_1=[event("2026-03-01T10:00:00Z")])
    path = raw / "events/events_1.ndjson"
    before = path.stat()
    stage(tmp_path / "home", raw)
    path.write_text(path.read_text().replace("2026-03-01", "2026-03-02"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    found = stage(tmp_path / "home", raw)
    assert [row[1] for row in found[STAGED[1]]] == [datetime(2026, 3, 2, 10, tzinfo=UTC).replace(tzinfo=None)]


@pytest.mark.usefixtures("settled")
def test_another_folder_or_other_sql_is_read_from_the_start(root, tmp_path, stage):
    first = write(tmp_path / "first", events_1=[event("2026-03-01T10:00:00Z", quantity=3)])
    second = write(tmp_path / "second", events_2=[event("2026-03-02T10:00:00Z")])
    home = tmp_path / "home"
    stage(home, first)
    assert [row[1] for row in stage(home, second)[STAGED[1]]] == [
        datetime(2026, 3, 2, 10, tzinfo=UTC).replace(tzinfo=None)
    ]
    stage(home, first)

    project = copy_of_project(root, tmp_path)
    macro = project / "macros/raw.sql"
    macro.write_text(
        macro.read_text().replace("then try_cast({{ value }} as double) end", "then cast(7 as double) end")
    )
    done = UntestedTransformer(project=project, home=home).build(source="uptake", raw=first, as_of=AS_OF)
    assert rows(done, "select quantity from staging.stg_usage_events") == [(7.0,)]
