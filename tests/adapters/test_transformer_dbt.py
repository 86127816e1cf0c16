"""The warehouse as dbt leaves it: who is in it, what the marts say, and what is told when it cannot be made."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.adapters.warehouses import AS_OF, UntestedTransformer, builder, event, rows, write
from tests.dbt_copy import copy_of_project
from uptake.adapters.key_ring import open_key_ring
from uptake.adapters.transformer_dbt import DbtTransformer
from uptake.domain.ids import contact_id
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
        {"account_id": "a1", "user_id": "u1", "address": "ada@secret.example", "given_name": "Zarathustra",
         "consent_basis": "implied", "consent_at": "2026-01-01", "consent_expires_at": "2028-01-01T00:00:00Z"},
        {"account_id": "a1", "user_id": "u2"},
    ]  # fmt: skip
    done = build(write(tmp_path, contacts=contacts, events_1=[event("2026-03-01T10:00:00Z")]))
    transformer = DbtTransformer(project=root / "dbt_project", home=home)
    people = transformer.people(done.warehouse).to_pylist()
    key = open_key_ring(home).pseudonym

    assert {person["address"] for person in people} == {"ada@secret.example", None}
    assert people[0].keys() == {
        "contact_id", "account_id", "address", "given_name", "full_name", "role", "time_zone", "locale",
        "consent_basis", "consent_at", "consent_expires_at",
    }  # fmt: skip
    assert {person["contact_id"] for person in people} == {
        contact_id(key, account_id="a1", user_id=user) for user in ("u1", "u2")
    }
    assert {person["consent_expires_at"] for person in people} == {datetime(2028, 1, 1), None}  # noqa: DTZ001
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
    project = copy_of_project(root, tmp_path)
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
    project = copy_of_project(root, tmp_path)
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
