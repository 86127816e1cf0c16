# ruff: noqa: DTZ001  # timestamps in marts are naive UTC
"""A small, healthy warehouse for the gate to look at, ways to spoil it, and a world in which mails are due."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import duckdb
import pyarrow as pa
import pytest

from uptake.adapters.journeys_duckdb import DuckJourneys
from uptake.adapters.ledger import open_ledger
from uptake.adapters.mart_profile import profile
from uptake.adapters.marts import MARTS
from uptake.adapters.required_checks import FILE, read_required
from uptake.adapters.snapshots_duckdb import DuckSnapshots
from uptake.adapters.suites_gx import GxSuites
from uptake.domain.playbooks import Release
from uptake.operations.approve import approve
from uptake.operations.plan import PlanResult, plan
from uptake.operations.refresh import RefreshResult, refresh
from uptake.operations.tick import TickResult, tick
from uptake.ports import Build, Check, Keys
from uptake.testing import FixedClock

AS_OF = datetime(2026, 3, 2, 5, 0, tzinfo=UTC)
TODAY = AS_OF.date()
FEATURES = ("reports", "dashboards", "alerts", "exports", "api", "sso")
ACCOUNTS = [f"a{n:03d}" for n in range(60)]
ADOPTED_DAYS = 3
START = date(2026, 1, 2)  # of the log: two whole windows before TODAY
STOPPED = date(2026, 2, 2)  # who lapsed did so then
BEFORE = AS_OF - timedelta(days=2)  # of the last good snapshot: too old to mail from at NOW
NOW = AS_OF + timedelta(hours=1)

Row = dict[str, Any]
ROOT = Path(__file__).parents[2]

KEYS = Keys(pseudonym=b"k" * 32, tokens=(b"t" * 32,))
PEOPLE = pa.schema(
    [
        (name, pa.timestamp("us", "UTC") if name == "consent_at" else pa.string())
        for name in (
            *("contact_id", "account_id", "address", "given_name", "full_name", "role", "time_zone", "locale"),
            *("consent_basis", "consent_at"),
        )
    ]
)
RELEASE = Release.model_validate(
    {
        "name": "alpha",
        "playbook": {
            "teaches": "exports",
            "topic": "training",
            "audience": {"where": "feature.adoption_state == 'never'"},
            "goal": {"within": "28d", "by": "contact"},
            "holdout": "10%",
            "backfill": "all",
            "stages": {"why": {"email": "why.md"}, "how": {"email": "how.md", "after": "1d"}},
        },
        "workspace": {
            "sender": {"name": "Ada", "address": "ada@vendor.example"},
            "postal_address": "1 Long Street, Town",
            "topics": {"training": 7},
            "caps": {"person": {"mails": 9, "per": "7d"}, "account": {"mails": 99, "per": "7d"}},
            "window": {"start": "00:00", "end": "23:00", "days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]},
            "consent": {"default_basis": "contract"},
        },
        "texts": {key: {"subject": key, "body": "Body"} for key in ("why", "how")},
        "layout": "<mjml/>",
    }
)
#: What dbt would have reported: everything that must have run, and passed.
DBT_CHECKS = tuple(
    Check(name=name, status="passed", severity="critical")
    for name in [*read_required(ROOT / "expectations" / FILE), "dbt:source_freshness:uptake.events"]
    if name.startswith("dbt:")
)


def contacts_of(account: str) -> list[str]:
    count = 2 + int(account[1:]) % 3
    return [hashlib.sha256(f"{account}/{n}".encode()).hexdigest()[:32] for n in range(count)]


def usage(today: date) -> Iterator[tuple[str, str, str, date]]:
    """Who used what when: each contact on some days since the start, some features often, others rarely or before."""
    for a, account in enumerate(ACCOUNTS):
        for c, contact in enumerate(contacts_of(account)):
            for f, feature in enumerate(FEATURES):
                if (a + c + f) % 3 == 0:
                    continue
                for n in range((today - START).days + 1):
                    day = START + timedelta(days=n)
                    if (a + f) % 5 == 0 and day > STOPPED:
                        continue
                    busy = 6 if day.weekday() >= 5 else 4  # fewer come on a weekend
                    if (n * 7 + a + c * 3 + f * 5) % (busy + f * 4) == 0:
                        yield account, contact, feature, day


def standing(days: set[date], today: date) -> Row:
    """The columns that tell how far somebody has come with a feature."""
    recent = [day for day in days if day > today - timedelta(days=28)]
    adopted_on = next(
        (day for day in sorted(days) if sum(day - timedelta(days=28) < other <= day for other in days) >= ADOPTED_DAYS),
        None,
    )
    state = "adopted" if len(recent) >= ADOPTED_DAYS else "lapsed" if adopted_on else "tried" if days else "never"
    return {
        "adoption_state": state, "days_used_28": len(recent), "first_used_on": min(days, default=None),
        "last_used_on": max(days, default=None), "first_adopted_on": adopted_on,
    }  # fmt: skip


def healthy_marts(today: date = TODAY) -> dict[str, list[Row]]:
    """Rows of every mart, each telling the same story."""
    by_account: dict[tuple[str, str], set[date]] = {}
    by_contact: dict[tuple[str, str, str], set[date]] = {}
    daily: dict[tuple[str, str, date], set[str]] = {}
    for account, contact, feature, day in usage(today):
        by_account.setdefault((account, feature), set()).add(day)
        by_contact.setdefault((account, contact, feature), set()).add(day)
        daily.setdefault((account, feature, day), set()).add(contact)
    marts: dict[str, list[Row]] = {mart: [] for mart in MARTS}
    marts["dim_features"] = [
        {"feature_key": feature, "name": feature.title(), "weight": 1.0, "minutes_saved_per_use": 5.0,
         "ladder_rank": rank, "adopted_days": ADOPTED_DAYS}
        for rank, feature in enumerate(FEATURES, 1)
    ]  # fmt: skip
    marts["fct_account_feature_daily"] = [
        {"account_id": account, "feature_key": feature, "date_day": day, "count_events": each * len(people),
         "count_contacts": len(people), "sum_quantity": float(each * len(people))}
        for (account, feature, day), people in daily.items()
        for each in (1 + (int(account[1:]) + day.day) % 4,)
    ]  # fmt: skip
    for n, account in enumerate(ACCOUNTS):
        entitled = FEATURES[: 4 + n % 3]
        plan = ("team", "business", "enterprise")[n % 3]
        marts["dim_accounts"].append(
            {"account_id": account, "plan": plan, "arr": 1000.0 * n, "currency": "EUR", "seats": 5, "churned": False,
             "is_internal": False, "created_at": datetime(2025, 6, 1), "csm": f"csm-{n % 4}"}
        )  # fmt: skip
        states = []
        for feature in FEATURES:
            days = by_account.get((account, feature), set())
            if feature not in entitled and not days:
                continue
            people = {who for (owner, who, what) in by_contact if (owner, what) == (account, feature)}
            row = {"account_id": account, "feature_key": feature, "is_entitled": feature in entitled,
                   "days_used_prev_28": 0, "count_contacts_28": len(people), **standing(days, today)}  # fmt: skip
            marts["account_features"].append(row)
            states.append(row)
        adopted = sum(row["adoption_state"] == "adopted" and row["is_entitled"] for row in states)
        people_here = contacts_of(account)
        marts["accounts_current"].append(
            {"account_id": account, "plan": plan, "arr": 1000.0 * n, "currency": "EUR", "seats": 5, "age_days": 274,
             "churned": False, "is_internal": False, "count_open_tickets": 0, "count_contacts": len(people_here),
             "count_active_contacts_28": 1, "seats_used_share": 0.2, "count_features_entitled": len(entitled),
             "count_features_adopted": adopted, "adoption_breadth": adopted / len(entitled), "adoption_depth": 0.2,
             "stickiness": 0.3, "usage_trend": -0.1, "days_since_last_use": 0, "health": 0.5, "health_coverage": 1.0}
        )  # fmt: skip
        for contact in people_here:
            marts["dim_contacts"].append({"contact_id": contact, "account_id": account, "role": "admin"})
            marts["contacts_current"].append(
                {"contact_id": contact, "account_id": account, "role": "admin", "age_days": 200, "active_days_28": 9,
                 "count_features_used_28": 3, "count_features_adopted": 2, "days_since_last_use": 1}
            )  # fmt: skip
            rank = 0
            for feature in FEATURES:
                mine = by_contact.get((account, contact, feature), set())
                state = standing(mine, today)
                if mine:
                    marts["contact_features"].append(
                        {"contact_id": contact, "account_id": account, "feature_key": feature, **state}
                    )
                if feature in entitled and state["adoption_state"] != "adopted":
                    rank += 1
                    marts["feature_recommendations"].append(
                        {"contact_id": contact, "account_id": account, "recommendation_rank": rank,
                         "feature_key": feature, "reason": "next on the ladder", "chosen_by": "ladder"}
                    )  # fmt: skip
        marts["fct_outcomes"].append(
            {"enrollment_id": n, "playbook": "teach", "account_id": account, "entry_no": 1,
             "arm": "holdout" if n % 3 == 0 else "treatment", "enrolled_at": datetime(2026, 2, 1),
             "window_ends_at": datetime(2026, 3, 1), "is_window_closed": True, "is_goal_reached": False,
             "breadth_before": 0.1, "breadth_after": 0.2, "count_contacts": 1,
             "count_sends_accepted": 0 if n % 3 == 0 else 2}
        )  # fmt: skip
    for feature in FEATURES:
        owned = [row for row in marts["account_features"] if row["feature_key"] == feature and row["is_entitled"]]
        used = [row for row in owned if row["days_used_28"]]
        adopted = sum(row["adoption_state"] == "adopted" for row in owned)
        marts["feature_reach"].append(
            {"feature_key": feature, "count_accounts_entitled": len(owned), "count_accounts_used_28": len(used),
             "count_accounts_adopted": adopted, "account_reach": len(used) / len(owned),
             "account_adoption": adopted / len(owned), "count_contacts_entitled_28": 4 * len(owned),
             "count_contacts_used_28": len(used), "contact_reach": len(used) / (4 * len(owned)),
             "count_uses_28": 9, "use_share_28": 1 / len(FEATURES)}
        )  # fmt: skip
    sunday = today - timedelta(days=today.weekday() + 1)
    marts["fct_account_health_weekly"] = [
        {"account_id": row["account_id"], "week_ends_on": sunday - timedelta(weeks=weeks), "plan": row["plan"],
         "seats": 5, "age_days": 270, "count_features_entitled": row["count_features_entitled"],
         "count_features_adopted": row["count_features_adopted"], "adoption_breadth": row["adoption_breadth"],
         "count_active_contacts_28": 1, "seats_used_share": 0.2, "health": 0.5, "health_coverage": 1.0,
         "health_band": "green"}
        for row in marts["accounts_current"]
        for weeks in range(4)
    ]  # fmt: skip
    return marts


def write_warehouse(path: Path, as_of: datetime) -> None:
    """Write healthy marts, and the newest of the events they were made of: one every five minutes."""
    with duckdb.connect(str(path)) as connection:
        connection.execute("create schema marts; create schema staging")
        connection.execute(
            "create table staging.stg_usage_events as select 'e' || n as event_id,"
            " 'a' || lpad((n % 60)::varchar, 3, '0') as account_id, 'u1' as user_id,"
            " ?::timestamp - to_minutes(5 * n) as occurred_at from range(2000) as r(n)",
            [as_of.replace(tzinfo=None) - timedelta(minutes=5)],
        )
        connection.execute(
            "create table staging.stg_event_lines as select *, cast(occurred_at as date) as date_day,"
            " 'opened' as event_name, 1.0 as quantity, '{}' as properties, cast(null as varchar) as problem,"
            " false as is_duplicate from staging.stg_usage_events;"
            " create table staging.stg_event_lines__days as select date_day, 0 as count_naming_subscription"
            " from staging.stg_event_lines group by date_day;"
            " create table staging.stg_subscriptions (subscription_id varchar, started_on date, ended_on date)"
        )
        for mart, rows in healthy_marts(as_of.date()).items():
            schema = MARTS[mart]
            full = [{name: row.get(name) for name in schema.names} for row in rows]
            connection.register("rows", pa.Table.from_pylist(full, schema=schema))
            connection.execute(f"create table marts.{mart} as from rows")


@pytest.fixture(scope="session")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The warehouse file nobody has spoiled."""
    path = tmp_path_factory.mktemp("healthy") / "warehouse.duckdb"
    write_warehouse(path, AS_OF)
    return path


@pytest.fixture
def spoil(healthy: Path, tmp_path: Path) -> Callable[..., Build]:
    """Return a build whose warehouse was changed by these statements."""

    def change(*statements: str) -> Build:
        path = tmp_path / "warehouse.duckdb"
        shutil.copy(healthy, path)
        with duckdb.connect(str(path)) as connection:
            for statement in statements:
                connection.execute(statement)
        return build_of(path, AS_OF)

    return change


def build_of(warehouse: Path, as_of: datetime, *checks: Check) -> Build:
    counts = {"lines": 9, "events": 9, "duplicates": 0, "quarantined": 0, "unattributed": 0}
    return Build(
        warehouse=warehouse,
        invocation_id="i1",
        as_of=as_of,
        checks=checks or DBT_CHECKS,
        counts=counts | {"accounts": 60, "users": 180, "features": 6},
        unmapped_events={},
    )


@pytest.fixture(scope="session")
def suites(root: Path, tmp_path_factory: pytest.TempPathFactory) -> GxSuites:
    """The gate with the suites we ship."""
    return GxSuites(root / "expectations", tmp_path_factory.mktemp("home"))


class World:
    """A home in which a playbook runs: the real refresh, gate, snapshots, ledger and tick; the sender is a stroke of
    the pen, and dbt a build that is handed in.
    """

    def __init__(self, home: Path, suites: GxSuites) -> None:
        self.home, self.suites = home, suites
        self.snapshots = DuckSnapshots(home)
        self.ledger = open_ledger(f"sqlite:///{home / 'ledger.sqlite3'}", KEYS)
        self.journeys = DuckJourneys()
        self.release = RELEASE

    def people(self, warehouse: Path) -> pa.Table:
        rows = [
            {"contact_id": contact, "account_id": account, "address": f"{contact}@example.invalid"}
            for account in ACCOUNTS
            for contact in contacts_of(account)
        ]
        return pa.Table.from_pylist([{name: row.get(name) for name in PEOPLE.names} for row in rows], schema=PEOPLE)

    def refresh(self, build: Build, *, now: datetime = NOW, suites: GxSuites | None = None) -> RefreshResult:
        transformer = cast(Any, SimpleNamespace(build=lambda **_: build, people=self.people))
        return self.refresh_with(transformer, now=now, suites=suites)

    def refresh_with(
        self,
        transformer: Any,
        *,
        now: datetime = NOW,
        suites: GxSuites | None = None,
        raw: Path | None = None,
        source: str = "uptake",
        as_of: datetime | None = None,
    ) -> RefreshResult:
        return refresh(
            transformer, suites or self.suites, self.snapshots, self.ledger, source=source, raw=raw or self.home,
            ledger_export=self.home / "ledger_export", as_of=as_of, git_sha="abc", clock=FixedClock(now),
        )  # fmt: skip

    def plan(self, *, now: datetime = NOW) -> PlanResult:
        playbooks = cast(Any, SimpleNamespace(release=lambda name: self.release))
        return plan(playbooks, self.journeys, self.snapshots, self.ledger, name="alpha", git_sha="abc", now=now)

    def tick(self, *, now: datetime = NOW) -> tuple[TickResult, int]:
        """Decide, and let everything that is planned be accepted; return how many mails that were."""
        result = tick(self.journeys, self.snapshots, self.ledger, now=now, git_sha="abc", owner="test")
        mails = 0
        sends = self.ledger.sends
        while claimed := sends.claim(owner="w", limit=1000, now=now, lease=timedelta(minutes=5)):
            ids = [one.send_id for one in claimed]
            assert not sends.intend(ids, owner="w", body_hash="h", now=now, deadline=now + timedelta(minutes=1))
            sends.accepted(ids, message_id=None, now=now)
            mails += len(ids)
        return result, mails


@pytest.fixture(scope="session")
def due(suites: GxSuites, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home two days ago: a snapshot passed, a playbook was approved, its first mails left, the second are due now."""
    home = tmp_path_factory.mktemp("due")
    write_warehouse(home / "warehouse.duckdb", BEFORE)
    world = World(home, suites)
    then = BEFORE + timedelta(hours=1)
    assert world.refresh(build_of(home / "warehouse.duckdb", BEFORE), now=then).reasons == ()
    approve(world.ledger, plan_id=world.plan(now=then).plan.plan_id, by="Ada", now=then)
    _, mails = world.tick(now=then)
    assert mails > 20
    world.ledger.close()
    (home / "warehouse.duckdb").unlink()
    return home


@pytest.fixture
def world(due: Path, suites: GxSuites, tmp_path: Path) -> Iterator[World]:
    """That home, for one test."""
    shutil.copytree(due, tmp_path / "home")
    found = World(tmp_path / "home", suites)
    yield found
    found.ledger.close()


@pytest.fixture
def suites_without(root: Path, tmp_path: Path) -> Callable[..., GxSuites]:
    """Return a gate one of whose suite files was rewritten: None removes it."""

    def change(mart: str, rewrite: Callable[[str], str | None]) -> GxSuites:
        folder = tmp_path / "expectations"
        shutil.copytree(root / "expectations", folder)
        path = folder / f"{mart}.json"
        text = rewrite(path.read_text())
        path.unlink()
        if text is not None:
            path.write_text(text)
        return GxSuites(folder, tmp_path / "home")

    return change


@pytest.fixture(scope="session")
def yesterday(healthy: Path) -> Row:
    """The manifest of a snapshot of the same base, a day earlier."""
    with duckdb.connect(str(healthy), read_only=True) as warehouse:
        remembered = profile(warehouse)
    counts = {mart: len(rows) for mart, rows in healthy_marts().items()}
    earlier = (AS_OF - timedelta(days=1)).isoformat()
    manifest = {"snapshot_id": "20260301T050000Z-00000000", "as_of": earlier, "row_counts": counts}
    return json.loads(json.dumps(manifest | {"profile": remembered}))  # type: ignore[no-any-return]
