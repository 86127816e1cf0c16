"""The warehouse as dbt leaves it: from raw lines to marts."""

from __future__ import annotations

import gzip
import json
import os
import random
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from uptake.adapters.key_ring import open_key_ring
from uptake.adapters.transformer_dbt import DbtTransformer
from uptake.domain.ids import contact_id
from uptake.errors import TransformError
from uptake.ports import Build

pytestmark = pytest.mark.slow

AS_OF = datetime(2026, 3, 3, 9, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One home for all tests here: dbt parses once."""
    return tmp_path_factory.mktemp("home")


class UntestedTransformer(DbtTransformer):
    """Leaves out the data tests, which are most of what a build of a few lines takes."""

    def _invoke(self, command: list[str], manifest: Any) -> Any:
        return super()._invoke([*command, *(NO_TESTS if command[0] == "build" else ())], manifest)


NO_TESTS = ("--exclude-resource-type", "test")


@pytest.fixture(scope="module")
def build(root: Path, home: Path) -> Callable[..., Build]:
    """Build the marts of a raw folder; with their checks only if asked to."""

    def run(raw: Path, *, source: str = "uptake", as_of: datetime | None = AS_OF, is_tested: bool = False) -> Build:
        transformer = DbtTransformer if is_tested else UntestedTransformer
        return transformer(project=root / "dbt_project", home=home).build(source=source, raw=raw, as_of=as_of)

    return run


def rows(build: Build, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(build.warehouse), read_only=True) as session:
        return session.sql(query).fetchall()


def event(at: str, name: str = "dashboards.used", *, account: str = "a1", user: str | None = "u1", **more: Any) -> str:
    fields = {"occurred_at": at, "account_id": account, "user_id": user, "event_name": name, **more}
    return json.dumps({key: value for key, value in fields.items() if value is not None})


def write(folder: Path, **files: list[Any]) -> Path:
    """Write raw inputs: `events_<day>` are event lines, others lists of objects."""
    (folder / "events").mkdir(parents=True, exist_ok=True)
    for name, lines in files.items():
        path = folder / (f"events/{name}.ndjson" if name.startswith("events") else f"{name}.ndjson")
        path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return folder


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
        event("2026-03-09T12:00:00Z").encode(),  # 19: in the future, and without a newline
    ]
)


def test_every_line_is_an_event_a_duplicate_or_quarantined_with_its_number(build, tmp_path):
    raw = write(tmp_path, accounts=[{"account_id": "a1"}, "{broken", {"plan": "team"}], events_empty=[])
    (raw / "events/bad.ndjson").write_bytes(BAD_FILE)
    with gzip.open(raw / "events/packed.ndjson.gz", "wb") as file:
        file.write(b"\n" + event("2026-03-01T10:00:00Z", account="a2").encode() + b"\nbroken")

    done = build(raw, is_tested=True)

    assert {name: done.counts[name] for name in ("lines", "events", "duplicates", "quarantined", "unattributed")} == {
        "lines": 19, "events": 6, "duplicates": 1, "quarantined": 12, "unattributed": 1,
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
    "select * exclude (read_order, file_version) from staging.stg_event_lines",
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

    project = _copy(root, tmp_path)
    macro = project / "macros/raw.sql"
    macro.write_text(
        macro.read_text().replace("then try_cast({{ value }} as double) end", "then cast(7 as double) end")
    )
    done = UntestedTransformer(project=project, home=home).build(source="uptake", raw=first, as_of=AS_OF)
    assert rows(done, "select quantity from staging.stg_usage_events") == [(7.0,)]


# --- who ---------------------------------------------------------------------------------------------------------


def test_contact_ids_are_those_of_python_for_any_text(build, home, tmp_path):
    names = [
        "plain",
        "Ünïcödé",
        "日本語",
        "emoji 🦉",
        "quote ' \" \\",
        "semi;colon",
        "x" * 300,
        "a\u0301",
        "tab\there",
        "%_*",
    ]
    lines = [event("2026-03-01T10:00:00Z", account=account, user=user) for account in names for user in names[::3]]
    done = build(write(tmp_path, events_1=lines))
    key = open_key_ring(home).pseudonym
    found = rows(done, "select account_id, user_id, contact_id from intermediate.int_contacts")
    assert len(found) == len(lines)
    assert all(found_id == contact_id(key, account_id=account, user_id=user) for account, user, found_id in found)


def test_people_carry_addresses_but_no_table_does_and_no_file_holds_the_key(root, build, home, tmp_path):
    contacts = [
        {"account_id": "a1", "user_id": "u1", "address": "ada@secret.example", "given_name": "Zarathustra"},
        {"account_id": "a1", "user_id": "u2"},
    ]  # fmt: skip
    done = build(write(tmp_path, contacts=contacts, events_1=[event("2026-03-01T10:00:00Z")]))
    transformer = DbtTransformer(project=root / "dbt_project", home=home)
    people = transformer.people(done.warehouse).to_pylist()
    key = open_key_ring(home).pseudonym

    assert {person["address"] for person in people} == {"ada@secret.example", None}
    assert people[0].keys() == {
        "contact_id", "account_id", "address", "given_name", "full_name", "role", "time_zone", "locale",
        "consent_basis", "consent_at",
    }  # fmt: skip
    assert {person["contact_id"] for person in people} == {
        contact_id(key, account_id="a1", user_id=user) for user in ("u1", "u2")
    }
    tables = rows(
        done, "select table_schema, table_name from information_schema.tables where table_type = 'BASE TABLE'"
    )
    assert len(tables) > 15
    for schema, table in tables:
        text = repr(rows(done, f"from {schema}.{table}"))
        assert "secret.example" not in text, table
        assert "Zarathustra" not in text, table
    inner = bytes(byte ^ 0x36 for byte in key.ljust(64, b"\0"))
    for path in [*(home / "dbt").rglob("*"), *(home / "logs").rglob("*"), done.warehouse]:
        if path.is_file():
            content = path.read_bytes()
            assert key not in content, path
            assert key.hex().encode() not in content.lower(), path
            assert inner not in content, path


# --- states ------------------------------------------------------------------------------------------------------


def test_adoption_states_follow_the_last_28_days_and_entitlement_follows_the_plan(build, tmp_path):
    def on(name: str, *days: str) -> list[str]:
        return [event(f"{day}T08:00:00Z", name) for day in days]

    bought = {"account_id": "a1"}
    raw = write(
        tmp_path,
        accounts=[{"account_id": "a1", "plan": "starter", "seats": 4}],
        subscriptions=[
            {**bought, "subscription_id": "s1", "plan": "old", "started_on": "2025-01-01", "ended_on": "2026-02-01"},
            {**bought, "subscription_id": "s2", "plan": "team", "seats": 5, "started_on": "2026-02-01"},
            {**bought, "subscription_id": "s3", "plan": "enterprise", "started_on": "2026-04-01"},
        ],
        events_1=[
            *on("dashboards.used", "2026-02-04", "2026-02-20", "2026-03-03"),  # the first is 27 days ago: adopted
            *on("exports.used", "2026-02-03", "2026-02-20", "2026-03-03"),  # the first is 28 days ago: tried
            *on("alerts.used", "2026-01-01", "2026-02-20", "2026-03-03"),  # never three in 28 days
            *on("sso.used", "2026-03-01"),  # not in the plan
        ],
    )  # fmt: skip
    done = build(raw)
    states = {
        feature: (state, entitled, days, adopted_on)
        for feature, state, entitled, days, adopted_on in rows(
            done,
            "select feature_key, adoption_state, is_entitled, days_used_28, first_adopted_on"
            " from marts.account_features",
        )
    }
    assert states["dashboards"] == ("adopted", True, 3, date(2026, 3, 3))
    assert states["exports"] == ("tried", True, 2, None)
    assert states["alerts"] == ("tried", True, 2, None)
    assert states["sso"] == ("tried", False, 1, None)
    assert states["projects"] == ("never", True, 0, None)
    assert "audit_log" not in states
    assert rows(
        done,
        "select plan, seats, count_features_entitled, count_features_adopted, adoption_breadth"
        " from marts.accounts_current",
    ) == [("team", 5, 22, 1, 1 / 22)]
    later = build(raw, as_of=datetime(2026, 3, 4, 9, 0, tzinfo=UTC))
    assert rows(later, "select adoption_state from marts.account_features where feature_key = 'dashboards'") == [
        ("lapsed",)
    ]


def test_recommendations_climb_the_ladder_and_wait_for_what_they_build_on(build, tmp_path):
    used = [event(f"2026-03-0{day}T08:00:00Z", "dashboards.used") for day in (1, 2, 3)]
    done = build(write(tmp_path, accounts=[{"account_id": "a1", "plan": "starter"}], events_1=used))
    found = rows(
        done,
        "select recommendation_rank, feature_key, chosen_by from marts.feature_recommendations order by 1",
    )
    # Dashboards are a habit: what builds on them comes first, then the lowest rung.
    assert found == [(1, "saved_views", "ladder"), (2, "exports", "ladder"), (3, "projects", "ladder")]


# --- outcomes ----------------------------------------------------------------------------------------------------

_ENROLLMENTS = pa.schema(
    [
        ("enrollment_id", pa.int64()), ("playbook", pa.string()), ("account_id", pa.string()), ("entry_no", pa.int32()),
        ("arm", pa.string()), ("stratum", pa.string()), ("enrolled_at", pa.timestamp("us")),
        ("window_ends_at", pa.timestamp("us")), ("goal_reach", pa.string()), ("goal_by", pa.string()),
        ("is_measured", pa.bool_()),
    ]
)  # fmt: skip


def test_outcomes_are_counted_alike_in_every_arm(root, tmp_path):
    home = tmp_path / "home"
    key = open_key_ring(home).pseudonym
    entered, ends = (AS_OF.replace(month=2, day=day, tzinfo=None) for day in (10, 24))
    cases: dict[str, tuple[list[str], str, str, date | None]] = {
        # account: days and hours of use of dashboards by u1, reach, by, reached on
        "in_time": (["02-11T08", "02-15T08", "02-24T08"], "adopted", "account", date(2026, 2, 24)),
        "an_hour_late": (["02-11T08", "02-15T08", "02-24T10"], "adopted", "account", None),
        "helped_by_before": (["01-20T08", "02-01T08", "02-12T08"], "adopted", "account", date(2026, 2, 12)),
        "too_long_before": (["01-10T08", "02-01T08", "02-12T08"], "adopted", "account", None),
        "met_at_entry": (["02-01T08", "02-02T08", "02-03T08"], "adopted", "account", date(2026, 2, 10)),
        "tried": (["02-16T08"], "tried", "account", date(2026, 2, 16)),
        "by_a_colleague": (["02-11T08", "02-15T08", "02-16T08"], "adopted", "contact", None),
        "never": ([], "tried", "account", None),
    }
    raw = write(
        tmp_path / "raw",
        accounts=[{"account_id": account, "plan": "starter"} for account in cases],
        events_1=[event(f"2026-{at}:00:00Z", account=account) for account, (uses, *_) in cases.items() for at in uses],
    )
    export = home / "ledger_export"
    export.mkdir(parents=True)
    people, enrolled = [], []
    for number, (account, (_, reach, by, _)) in enumerate(cases.items(), start=1):
        arm = "holdout" if number % 2 else "treatment"
        enrolled.append((number, "p", account, 1, arm, None, entered, ends, reach, by, True))
        user = "u2" if account == "by_a_colleague" else "u1"
        people.append((number, contact_id(key, account_id=account, user_id=user), "dashboards"))
    columns = list(zip(*enrolled, strict=True))
    pq.write_table(
        pa.table([pa.array(c, f.type) for c, f in zip(columns, _ENROLLMENTS, strict=True)], schema=_ENROLLMENTS),
        export / "enrollments.parquet",
    )
    names = ("enrollment_id", "contact_id", "feature_key")
    pq.write_table(
        pa.table(dict(zip(names, zip(*people, strict=True), strict=True))), export / "enrollment_contacts.parquet"
    )
    pq.write_table(
        pa.table(
            {"send_id": ["s1", "s2", "s3"], "enrollment_id": [2, 2, 4], "status": ["delivered", "failed", "withheld"]}
        ),
        export / "sends.parquet",
    )

    transformer = UntestedTransformer(project=root / "dbt_project", home=home)
    done = transformer.build(source="uptake", raw=raw, as_of=AS_OF)

    outcomes = rows(
        done, "select * exclude (playbook, stratum, entry_no) from marts.fct_outcomes order by enrollment_id"
    )
    assert {row[1]: (row[6], row[7]) for row in outcomes} == {
        account: (case[3] is not None, case[3]) for account, case in cases.items()
    }
    assert all(row[5] for row in outcomes)  # every window is closed
    by_account = {row[1]: row for row in outcomes}
    assert by_account["met_at_entry"][8:10] == (1 / 12, 1 / 12)
    assert by_account["in_time"][8:10] == (0.0, 1 / 12)
    assert [row[11] for row in outcomes] == [0, 1, 0, 0, 0, 0, 0, 0]
    early = transformer.build(source="uptake", raw=raw, as_of=datetime(2026, 2, 20, tzinfo=UTC))
    assert rows(
        early, "select is_window_closed, is_goal_reached from marts.fct_outcomes where account_id = 'in_time'"
    ) == [(False, False)]


# --- real logs ---------------------------------------------------------------------------------------------------


@pytest.mark.real_data
def test_an_hour_of_github_gives_the_counted_figures(build, root, home, shared_data):
    done = build(shared_data / "gharchive", source="gharchive", as_of=None, is_tested=True)
    assert done.counts == {
        "lines": 7702, "events": 7702, "duplicates": 0, "quarantined": 0, "unattributed": 0,
        "accounts": 3655, "users": 3648, "features": 13,
    }  # fmt: skip
    assert done.as_of == datetime(2015, 1, 1, 0, 59, 58, tzinfo=UTC)
    names = rows(done, "select distinct event_name from staging.stg_usage_events")
    assert (len(names), len({name.split(".")[0] for (name,) in names})) == (18, 14)
    assert done.unmapped_events == {}
    assert {check.status for check in done.checks} == {"passed"}
    people = DbtTransformer(project=root / "dbt_project", home=home).people(done.warehouse).to_pylist()
    assert len(people) == 4069
    assert all(person["address"].endswith("@example.invalid") for person in people)
    assert {(person["role"], person["consent_basis"]) for person in people} == {(None, None)}
    assert rows(done, "select count(*) from marts.dim_contacts") == [(4069,)]


# --- what goes wrong ---------------------------------------------------------------------------------------------


def test_stale_events_are_a_failed_check(build, tmp_path):
    done = build(write(tmp_path, events_1=[event("2026-02-20T10:00:00Z")]))
    freshness = next(check for check in done.checks if check.name == "dbt:source_freshness:uptake.events")
    assert (freshness.status, freshness.blocks) == ("failed", True)
    assert "expected at most 7 days" in freshness.detail


def test_a_failed_test_is_a_check_and_names_what_it_kept_from_being_built(root, build, tmp_path, monkeypatch):
    project = _copy(root, tmp_path)
    test = project / "tests/assert_nothing_happens_after_as_of.sql"
    test.write_text(test.read_text().replace("> as_of.as_of_day", "> date '2000-01-01'"))
    raw = write(tmp_path / "raw", events_1=[event("2026-03-01T10:00:00Z")])
    done = DbtTransformer(project=project, home=tmp_path / "home").build(source="uptake", raw=raw, as_of=AS_OF)
    checks = {check.name: check for check in done.checks}
    assert checks["dbt:assert_nothing_happens_after_as_of"].blocks
    assert checks["dbt:assert_nothing_happens_after_as_of"].rows[0].endswith("date_day=2026-03-01")
    assert checks["dbt:accounts_current"].status == "missing"
    assert checks["dbt:accounts_current_has_one_row_per_account"].status == "missing"


def test_a_broken_model_is_one_line_with_its_file(root, tmp_path):
    project = _copy(root, tmp_path)
    model = project / "models/marts/adoption/dim_contacts.sql"
    model.write_text(model.read_text().replace("        role,\n", "        role as job,\n"))
    raw = write(tmp_path / "raw", events_1=[event("2026-03-01T10:00:00Z")])
    with pytest.raises(TransformError, match=r"models/marts/adoption/dim_contacts\.sql.*job") as caught:
        UntestedTransformer(project=project, home=tmp_path / "home").build(source="uptake", raw=raw, as_of=AS_OF)
    assert "\n" not in str(caught.value)


def test_an_unknown_source_or_folder_is_refused(root, tmp_path):
    transformer = DbtTransformer(project=root / "dbt_project", home=tmp_path / "home")
    with pytest.raises(TransformError, match=r"unknown source 'nope'.*gharchive.*uptake"):
        transformer.build(source="nope", raw=tmp_path, as_of=None)
    with pytest.raises(TransformError, match="no such folder"):
        transformer.build(source="uptake", raw=tmp_path / "nothing", as_of=None)


def _copy(root: Path, tmp_path: Path) -> Path:
    """Copy what belongs to the project, without an engineer's build."""
    project = tmp_path / "project"
    for name in ("models", "macros", "seeds", "tests", "dbt_project.yml", "profiles.yml"):
        for path in [root / "dbt_project" / name, *(root / "dbt_project" / name).rglob("*")]:
            if path.is_file():
                target = project / path.relative_to(root / "dbt_project")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(path.read_bytes())
    return project
