"""Builds that make only what changed: whatever came before, the tables are those of one full build."""

from __future__ import annotations

import gzip
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from dbt.adapters.duckdb.connections import DuckDBConnectionManager

from tests.dbt_copy import copy_of_project
from uptake.adapters.key_ring import open_key_ring
from uptake.adapters.transformer_dbt import DbtTransformer
from uptake.errors import TransformError

pytestmark = pytest.mark.slow

#: Histories of random changes to try. One takes about 20 s; a longer search is UPTAKE_TEST_HISTORIES=100.
HISTORIES = int(os.environ.get("UPTAKE_TEST_HISTORIES", "2"))

#: What is not made in full by every build, and what leads to it, in an order of building.
KEPT = (
    "stg_event_lines", "stg_usage_events", "int_as_of", "int_event_days", "int_event_features",
    "int_contact_feature_days", "fct_account_feature_daily", "int_feature_use_kept", "int_feature_use",
)  # fmt: skip
#: With what is made of it directly.
MODELS = (
    *KEPT, "stg_quarantine", "stg_load_counts", "int_unmapped_events", "stg_contacts", "int_contacts", "dim_contacts",
    "dim_features", "contact_features",
)  # fmt: skip
#: And the history of weeks that are over, which is made of nearly everything.
ALL_MODELS = (*MODELS, "+fct_account_health_weekly")
GRAIN = "fct_account_feature_daily_has_one_row_per_account_feature_and_day"
FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Warehouse:
    """One home, whose models are built without the data tests."""

    project: Path
    home: Path
    mapping: Path | None = None

    def build(self, raw: Path, as_of: datetime, *arguments: str, models: tuple[str, ...] = MODELS) -> dict[str, str]:
        """Build some models, and tests among them; the first time the seeds as well. Return what became of each."""
        transformer = DbtTransformer(project=self.project, home=self.home)
        chosen = ["--indirect-selection", "empty", "--exclude-resource-type", "unit_test", "--select", *models]
        if not transformer.warehouse.exists():
            chosen.append("resource_type:seed")
        source, staging = (str(self.mapping), "mapping") if self.mapping else ("uptake", "uptake")
        with transformer._environment(source=source, raw=raw, as_of=as_of.isoformat()):
            manifest = transformer._manifest(staging) if "--vars" not in arguments else None
            results = transformer._invoke(["build", *chosen, *arguments], manifest)
        failed = [f"{result.node.name}: {result.message}" for result in results if result.status == "error"]
        if failed:
            raise TransformError(failed[0])
        return {result.node.name: str(result.status) for result in results}

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with duckdb.connect(str(self.home / "warehouse.duckdb"), read_only=True) as session:
            session.execute("set TimeZone = 'UTC'")
            return session.sql(query).fetchall()

    def change(self, statement: str) -> int:
        """Do with the warehouse what no build does; return the number of rows changed."""
        with duckdb.connect(str(self.home / "warehouse.duckdb")) as session:
            return int(session.execute(statement).fetchall()[0][0])

    def tables(self, schemas: tuple[str, ...] = ("staging", "intermediate", "marts")) -> dict[str, list[str]]:
        """Return the rows of every table, sorted; without what tells one way of coming to be from another.

        And of the views over tables that are kept: those say what rows of different builds mean today.
        """
        names = self.rows(
            "select schema_name || '.' || table_name from duckdb_tables()"
            f" where schema_name in {schemas!r}"
            " and table_name not in ('stg_event_lines__files', 'stg_event_lines__draft')"
            " union select schema_name || '.' || view_name from duckdb_views()"
            f" where schema_name in {schemas!r} and schema_name <> 'staging' order by 1"
        )
        except_for = {
            "staging.stg_event_lines": "exclude (read_order)",
            # When the row was made, and its days as they stood then.
            "intermediate.int_feature_use_kept": "exclude (windows_end_on, day_bits)",
            # A build that was killed may have tested a day just before.
            "marts.fct_account_feature_daily__days": "exclude (tested_as)",
        }
        return {
            name: sorted(map(repr, self.rows(f"select * {except_for.get(name, '')} from {name}"))) for (name,) in names
        }


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take every file for one that lies there for long, though the tests have just written it."""
    monkeypatch.setattr("uptake.adapters.dbt_plugin._UNSETTLED_NS", -1)


@pytest.fixture(scope="module")
def one_full_build(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, list[str]]]:
    """Return what one full build gives, with the key ring of another home."""
    homes: dict[tuple[str, ...], Path] = {}  # by models: a table that others have left is no part of a full build

    def run(warehouse: Warehouse, raw: Path, as_of: datetime, models: tuple[str, ...] = MODELS) -> dict[str, list[str]]:
        if models not in homes:
            homes[models] = tmp_path_factory.mktemp("full")
        home = homes[models]
        shutil.copy(warehouse.home / "keys.json", home / "keys.json")
        full = Warehouse(project=warehouse.project, home=home, mapping=warehouse.mapping)
        full.build(raw, as_of, "--full-refresh", models=models)
        return full.tables()

    return run


@pytest.fixture
def warehouse(root: Path, tmp_path: Path) -> Warehouse:
    home = tmp_path / "home"
    open_key_ring(home)
    return Warehouse(project=root / "dbt_project", home=home)


def assert_equal(found: dict[str, list[str]], expected: dict[str, list[str]]) -> None:
    """Compare table by table; the killed build may have made more of them."""
    assert expected.keys() <= found.keys()
    for name, rows in expected.items():
        assert found[name] == rows, name


def line(day: int, name: str = "dashboards.used", *, hour: int = 10, account: str = "a", **more: Any) -> str:
    at = FIRST_DAY + timedelta(days=day, hours=hour)
    return json.dumps({"occurred_at": at.isoformat(), "account_id": account, "event_name": name, **more})


def write(raw: Path, name: str, lines: list[str]) -> None:
    (raw / "events").mkdir(parents=True, exist_ok=True)
    (raw / f"events/{name}.ndjson").write_text("".join(f"{text}\n" for text in lines))


# --- any history -------------------------------------------------------------------------------------------------


def some_lines(chance: random.Random, days: int) -> list[str]:
    """Lines out of few possible ones, so that files share events, ids and days."""
    lines = []
    for _ in range(chance.choice([0, 3, 20, 60])):
        day = chance.randrange(days)
        more = {
            "user_id": chance.choice(["u", "v", None]),
            "event_id": chance.choice([None, f"e{chance.randrange(60)}"]),
            "received_at": chance.choice([None, (FIRST_DAY + timedelta(days=day + chance.randrange(5))).isoformat()]),
            "quantity": chance.choice([None, 0.1, 3, 1e30]),
        }
        lines.append(
            line(
                day,
                chance.choice(["dashboards.used", "exports.used", "what.ever"]),
                hour=chance.randrange(24),
                account=chance.choice("ab"),
                **{key: value for key, value in more.items() if value is not None},
            )
            if chance.random() < 0.97
            else chance.choice(["{broken", "", "[1]", '{"account_id":"a"}'])
        )
    return lines


def some_changes(chance: random.Random, raw: Path, days: int) -> None:
    """Write, rewrite, prolong, copy, shuffle and remove event files."""
    (raw / "events").mkdir(parents=True, exist_ok=True)
    for _ in range(chance.choice([0, 1, 1, 2, 4])):
        path = raw / f"events/{chance.randrange(5)}.ndjson"
        present = sorted((raw / "events").iterdir())
        match chance.choice(["away", "copy", "longer", "longer", "new", "new"]):
            case "away":
                path.unlink(missing_ok=True)
            case "copy" if present:
                lines = chance.choice(present).read_text().splitlines()
                write(raw, path.stem, chance.sample(lines, len(lines)))
            case "longer" if path.exists():
                write(raw, path.stem, [*path.read_text().splitlines(), *some_lines(chance, days)])
            case _:
                write(raw, path.stem, some_lines(chance, days))


def moments(chance: random.Random, days: int) -> Iterator[datetime]:
    """As_of of the builds: mostly later, within a day too, sometimes earlier."""
    as_of = FIRST_DAY + timedelta(days=chance.randrange(days))
    while True:
        as_of += timedelta(hours=chance.choice([0, 5, 24, 24, 48, 24 * 30, -7, -24 * 20]))
        yield as_of


@pytest.mark.parametrize("seed", range(HISTORIES))
def test_whatever_became_of_files_and_as_of_before_the_tables_are_those_of_one_full_build(
    warehouse, one_full_build, tmp_path, seed
):
    chance = random.Random(seed)
    raw, days = tmp_path / "raw", chance.choice([10, 50, 100])
    for step, as_of in zip(range(7), moments(chance, days), strict=False):
        some_changes(chance, raw, days)
        if step % 3 == 1:  # a build that is killed between two models
            warehouse.build(raw, as_of, models=KEPT[: chance.randrange(1, len(KEPT))])
        elif step not in (3, 6):
            warehouse.build(raw, as_of, models=KEPT)
        else:
            warehouse.build(raw, as_of, models=ALL_MODELS)
            assert_equal(warehouse.tables(), one_full_build(warehouse, raw, as_of, ALL_MODELS))


# --- each on its own ---------------------------------------------------------------------------------------------


def test_a_new_day_leaves_other_days_alone_and_a_late_event_makes_its_day_anew(warehouse, tmp_path, monkeypatch):
    raw = tmp_path / "raw"
    for day in range(3):
        write(raw, f"{day}", [line(day, user_id="u"), line(day, "exports.used", user_id="v")])
    as_of = FIRST_DAY + timedelta(days=4)
    warehouse.build(raw, as_of)
    marked = {
        "intermediate.int_contact_feature_days": "first_used_at = timestamp '1999-01-01'",
        "marts.fct_account_feature_daily": "count_events = 1000",
    }
    for table, mark in marked.items():
        assert warehouse.change(f"update {table} set {mark}") > 0
    statements: list[str] = []
    execute = DuckDBConnectionManager.execute
    monkeypatch.setattr(
        DuckDBConnectionManager,
        "execute",
        lambda self, sql, *args, **kwargs: statements.append(sql) or execute(self, sql, *args, **kwargs),
    )

    def days_that_are_marked() -> list[list[int]]:
        return [
            [
                day
                for (day,) in warehouse.rows(
                    f"select distinct date_day - date '2026-01-01' from {table} where {mark} order by 1"
                )
            ]
            for table, mark in marked.items()
        ]

    write(raw, "3", [line(3, user_id="u")])
    warehouse.build(raw, as_of)
    assert days_that_are_marked() == [[0, 1, 2], [0, 1, 2]]
    write(raw, "4", [line(1, "exports.used", user_id="w")])
    warehouse.build(raw, as_of)
    assert days_that_are_marked() == [[0, 2], [0, 2]]
    assert warehouse.rows("select count(*) from marts.contact_features") == [(3,)]
    # A delete that joins is quadratic where a day has many rows.
    deletes = [sql for sql in statements if re.search(r"\bdelete\s+from\b", sql)]
    assert len(deletes) >= 8
    assert [sql for sql in deletes if re.search(r"\bdelete\s+from\s+\S+\s+(as\s+\w+\s+)?using\b", sql)] == []


def test_days_of_the_range_asked_for_are_rebuilt_and_no_others(warehouse, one_full_build, tmp_path):
    raw, as_of = tmp_path / "raw", FIRST_DAY + timedelta(days=9)
    write(raw, "all", [line(day, user_id="u") for day in range(6)])
    warehouse.build(raw, as_of)
    expected = one_full_build(warehouse, raw, as_of)
    for table in ("intermediate.int_contact_feature_days", "marts.fct_account_feature_daily"):
        warehouse.change(f"delete from {table}")
    asked = json.dumps({"rebuild_from": "2026-01-02", "rebuild_to": "2026-01-04"})
    warehouse.build(raw, as_of, "--vars", asked)
    assert warehouse.rows("select min(date_day), max(date_day), count(*) from marts.fct_account_feature_daily") == [
        ((FIRST_DAY + timedelta(days=1)).date(), (FIRST_DAY + timedelta(days=3)).date(), 3)
    ]
    warehouse.build(raw, as_of, "--full-refresh")
    assert_equal(warehouse.tables(), expected)


def test_another_catalogue_makes_everything_anew(root, warehouse, tmp_path):
    raw, as_of = tmp_path / "raw", FIRST_DAY + timedelta(days=9)
    write(raw, "all", [line(day, name, user_id="u") for day in range(2) for name in ("dashboards.used", "what.ever")])
    warehouse.build(raw, as_of)
    assert warehouse.rows("select first_adopted_on from marts.contact_features") == [(None,)]

    project = copy_of_project(root, tmp_path)
    catalogue = project / "seeds/feature_catalog.csv"
    heading, *features = catalogue.read_text().splitlines()
    names = heading.split(",")
    at = next(number for number, text in enumerate(features) if text.startswith("uptake,dashboards,"))
    feature = dict(zip(names, features[at].split(","), strict=True))
    feature |= {"adopted_days": "2", "event_patterns": feature["event_patterns"] + "|what.*"}
    features[at] = ",".join(feature[name] for name in names)
    catalogue.write_text("\n".join([heading, *features]) + "\n")
    edited = Warehouse(project=project, home=warehouse.home)
    edited.build(raw, as_of, models=(*MODELS, "resource_type:seed"))

    second = (FIRST_DAY + timedelta(days=1)).date()
    assert edited.rows("select first_adopted_on from marts.contact_features") == [(second,)]
    assert edited.rows("select sum(count_events) from marts.fct_account_feature_daily") == [(4,)]
    assert edited.rows("select count(*) from intermediate.int_unmapped_events") == [(0,)]

    days = project / "models/intermediate/int_contact_feature_days.sql"
    days.write_text(days.read_text().replace("count(*) as count_events", "3 * count(*) as count_events"))
    edited.build(raw, as_of)
    assert edited.rows("select sum(count_events) from marts.fct_account_feature_daily") == [(12,)]


def write_customers(raw: Path, *, ended_on: str | None = None) -> None:
    """Write two accounts, and the only contract, which one of them has."""
    accounts = [{"account_id": name, "created_at": "2025-01-01T00:00:00Z", "plan": "team", "seats": 4} for name in "ab"]
    contract = {"subscription_id": "s1", "account_id": "a", "plan": "starter", "seats": 2, "started_on": "2025-01-01"}
    for name, rows in {"accounts": accounts, "subscriptions": [contract | {"ended_on": ended_on}]}.items():
        (raw / f"{name}.ndjson").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_week_that_is_over_is_made_anew_only_when_something_that_it_is_made_of_changes(
    warehouse, one_full_build, tmp_path
):
    raw, health, models = tmp_path / "raw", "marts.fct_account_health_weekly", ("+fct_account_health_weekly",)
    write(raw, "all", [line(day, user_id="u", account=account) for day in range(95) for account in "ab"])
    write_customers(raw)
    wednesday = FIRST_DAY + timedelta(days=90)  # April 1
    monday = wednesday + timedelta(days=5)

    def weeks_made(as_of: datetime, *arguments: str) -> list[int]:
        """Return the weeks that a build has made; 0 ends on February 1, the first whose window is known."""
        warehouse.build(raw, as_of, *arguments, models=models)
        week = "(week_ends_on - date '2026-02-01') // 7"
        made = warehouse.rows(f"select distinct {week} from {health} where health_coverage <> -1 order by 1")
        warehouse.change(f"update {health} set health_coverage = -1")
        return [number for (number,) in made]

    def without_mark(rows: list[str]) -> list[str]:
        return [re.sub(r", [-0-9.]+, ('\w+'|None)\)$", "", row) for row in rows]

    assert weeks_made(wednesday) == list(range(9))
    assert weeks_made(wednesday + timedelta(days=1)) == []
    assert weeks_made(monday) == [9]
    write_customers(raw, ended_on="2026-03-20")  # a Friday: no contract on the last three Sundays
    assert weeks_made(monday) == [7, 8, 9]
    write(raw, "late", [line(33, "exports.used", user_id="v")])  # a Tuesday: in the windows, or those before, of eight
    assert weeks_made(monday) == list(range(1, 9))
    asked = json.dumps({"rebuild_from": "2026-03-23", "rebuild_to": "2026-03-24"})
    assert weeks_made(monday, "--vars", asked) == [8, 9]
    found, expected = warehouse.tables(), one_full_build(warehouse, raw, monday, models)
    for name in ("marts.fct_account_health_weekly", "intermediate.int_account_weeks", "intermediate.int_health_weeks"):
        assert without_mark(found[name]) == without_mark(expected[name]) != []
    assert warehouse.change("update seeds.feature_catalog set adopted_days = 27 where feature_key = 'dashboards'") > 0
    assert weeks_made(monday, "--exclude-resource-type", "seed") == list(range(10))


def test_a_day_stays_untested_until_its_test_has_passed_and_is_tested_again_when_it_is_made_again(warehouse, tmp_path):
    raw, as_of, daily = tmp_path / "raw", FIRST_DAY + timedelta(days=9), "marts.fct_account_feature_daily"
    write(raw, "all", [line(day, user_id="u") for day in range(3)])

    def tested(*arguments: str) -> str:
        return warehouse.build(raw, as_of, *arguments, models=(*KEPT, GRAIN))[GRAIN]

    def double(day: int) -> None:
        warehouse.change(f"insert into {daily} from {daily} where date_day = date '2026-01-01' + {day}")

    warehouse.build(raw, as_of, models=KEPT)  # killed before its tests
    double(1)
    assert tested() == "fail"
    write(raw, "new", [line(4, user_id="u")])
    assert tested() == "fail"
    assert tested("--full-refresh") == "pass"
    double(1)
    assert tested() == "pass"  # the gate's own rule looks at all days
    warehouse.change(f"update {daily}__days set tested_as = 'another grain' where date_day = date '2026-01-02'")
    assert tested() == "fail"
    write(raw, "late", [line(1, user_id="v")])
    assert tested() == "pass"
    warehouse.change(f"insert into {daily} select * replace (date '2026-02-01' as date_day) from {daily}")
    assert tested() == "fail"  # nobody has made such a day


def test_a_build_that_fails_while_it_reads_leaves_no_line_behind(warehouse, tmp_path):
    raw, as_of = tmp_path / "raw", FIRST_DAY + timedelta(days=9)
    write(raw, "1", [line(1)])
    write(raw, "2", [line(2)])
    warehouse.build(raw, as_of, models=("stg_event_lines",))
    before = warehouse.tables()
    write(raw, "1", [line(3)])
    torn = raw / "events/3.ndjson.gz"
    torn.write_bytes(gzip.compress(b"{}\n" * 100_000)[:-200])
    with pytest.raises(TransformError):
        warehouse.build(raw, as_of, models=("stg_event_lines",))
    assert warehouse.tables() == before


KILLED = """
import os, signal, sys
from datetime import datetime
from pathlib import Path
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from uptake.adapters.transformer_dbt import DbtTransformer

execute = DuckDBConnectionManager.execute
def die(self, sql, *args, **kwargs):
    if "delete from" in sql and "int_feature_use_kept__days" in sql:
        os.kill(os.getpid(), signal.SIGKILL)
    return execute(self, sql, *args, **kwargs)
DuckDBConnectionManager.execute = die
project, home, raw, as_of = sys.argv[1:]
DbtTransformer(project=Path(project), home=Path(home)).build(
    source="uptake", raw=Path(raw), as_of=datetime.fromisoformat(as_of)
)
"""


def test_a_build_that_is_killed_while_it_writes_is_made_good_by_the_next(warehouse, one_full_build, tmp_path):
    raw, as_of = tmp_path / "raw", FIRST_DAY + timedelta(days=9)
    write(raw, "1", [line(day, user_id="u", event_id=f"e{day}") for day in range(5)])
    warehouse.build(raw, as_of)
    write(raw, "2", [line(6, user_id="u", event_id="e4", received_at=as_of.isoformat()), line(2, user_id="v")])
    arguments = [str(warehouse.project), str(warehouse.home), str(raw), as_of.isoformat()]
    killed = subprocess.run([sys.executable, "-c", KILLED, *arguments], capture_output=True, timeout=300, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    # The days are there already, what is known by key is as before.
    assert warehouse.rows("select count(*) from intermediate.int_contact_feature_days") == [(6,)]
    assert warehouse.rows("select max(last_used_on) from intermediate.int_feature_use") == [
        ((FIRST_DAY + timedelta(days=4)).date(),)
    ]

    warehouse.build(raw, as_of)

    assert_equal(warehouse.tables(), one_full_build(warehouse, raw, as_of))


# --- a real log --------------------------------------------------------------------------------------------------


@pytest.mark.real_data
def test_sparkify_day_by_day_gives_the_tables_of_all_days_at_once(root, shared_data, one_full_build, tmp_path):
    home, raw = tmp_path / "home", tmp_path / "raw"
    open_key_ring(home)
    raw.mkdir()
    mapping = root / "dbt_project/mappings/sparkify.yml"
    daily = Warehouse(project=root / "dbt_project", home=home, mapping=mapping)
    files = sorted((shared_data / "sparkify").glob("*.json"))
    assert len(files) == 30
    for number, path in enumerate(files, start=1):
        shutil.copy(path, raw / path.name)
        as_of = datetime(2018, 11, 1, tzinfo=UTC) + timedelta(days=number)
        daily.build(raw, as_of, models=MODELS if number == len(files) else KEPT)

    assert daily.rows("select lines, events, unattributed from staging.stg_load_counts") == [(8056, 8056, 286)]
    assert_equal(daily.tables(), one_full_build(daily, raw, as_of))
