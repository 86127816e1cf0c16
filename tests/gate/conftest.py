# ruff: noqa: DTZ001  # timestamps in marts are naive UTC
"""A small, healthy warehouse for the gate to look at, and ways to spoil it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from uptake.adapters.marts import MARTS
from uptake.adapters.suites_gx import GxSuites
from uptake.ports import Build

AS_OF = datetime(2026, 3, 2, 5, 0, tzinfo=UTC)
TODAY = AS_OF.date()
FEATURES = ("reports", "dashboards", "alerts", "exports", "api", "sso")
ACCOUNTS = [f"a{n:03d}" for n in range(60)]
ADOPTED_DAYS = 3

Row = dict[str, Any]


def contacts_of(account: str) -> list[str]:
    count = 2 + int(account[1:]) % 3
    return [hashlib.sha256(f"{account}/{n}".encode()).hexdigest()[:32] for n in range(count)]


def usage() -> Iterator[tuple[str, str, str, date]]:
    """Who used what when: each contact on some days of the last 60, some features often, others rarely or before."""
    for a, account in enumerate(ACCOUNTS):
        for c, contact in enumerate(contacts_of(account)):
            for f, feature in enumerate(FEATURES):
                if (a + c + f) % 3 == 0:
                    continue
                for day in range(60):
                    lapsed = (a + f) % 5 == 0 and day < 28
                    if not lapsed and (day * 7 + a + c * 3 + f * 5) % (4 + f * 4) == 0:
                        yield account, contact, feature, TODAY - timedelta(days=day)


def standing(days: set[date]) -> Row:
    """The columns that tell how far somebody has come with a feature."""
    recent = [day for day in days if day > TODAY - timedelta(days=28)]
    adopted_on = next(
        (day for day in sorted(days) if sum(day - timedelta(days=28) < other <= day for other in days) >= ADOPTED_DAYS),
        None,
    )
    state = "adopted" if len(recent) >= ADOPTED_DAYS else "lapsed" if adopted_on else "tried" if days else "never"
    return {
        "adoption_state": state, "days_used_28": len(recent), "first_used_on": min(days, default=None),
        "last_used_on": max(days, default=None), "first_adopted_on": adopted_on,
    }  # fmt: skip


def healthy_marts() -> dict[str, list[Row]]:
    """Rows of every mart, each telling the same story."""
    by_account: dict[tuple[str, str], set[date]] = {}
    by_contact: dict[tuple[str, str, str], set[date]] = {}
    daily: dict[tuple[str, str, date], set[str]] = {}
    for account, contact, feature, day in usage():
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
        {"account_id": account, "feature_key": feature, "date_day": day, "count_events": 2 * len(people),
         "count_contacts": len(people), "sum_quantity": 2.0 * len(people)}
        for (account, feature, day), people in daily.items()
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
                   "days_used_prev_28": 0, "count_contacts_28": len(people), **standing(days)}  # fmt: skip
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
                state = standing(mine)
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
    return marts


@pytest.fixture(scope="session")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The warehouse file nobody has spoiled."""
    path = tmp_path_factory.mktemp("healthy") / "warehouse.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("create schema marts")
        connection.execute("create schema staging")
        connection.execute("create table staging.stg_usage_events (occurred_at timestamp)")
        connection.execute("insert into staging.stg_usage_events values (timestamp '2026-03-02 04:30:00')")
        for mart, rows in healthy_marts().items():
            schema = MARTS[mart]
            full = [{name: row.get(name) for name in schema.names} for row in rows]
            connection.register("rows", pa.Table.from_pylist(full, schema=schema))
            connection.execute(f"create table marts.{mart} as from rows")
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
        return Build(warehouse=path, invocation_id="i1", as_of=AS_OF, checks=(), counts={}, unmapped_events={})

    return change


@pytest.fixture(scope="session")
def suites(root: Path, tmp_path_factory: pytest.TempPathFactory) -> GxSuites:
    """The gate with the suites we ship."""
    return GxSuites(root / "expectations", tmp_path_factory.mktemp("home"))


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
def yesterday() -> dict[str, Any]:
    """The manifest of a snapshot of the same base, a day earlier."""
    counts = {mart: len(rows) for mart, rows in healthy_marts().items()}
    earlier = AS_OF - timedelta(days=1)
    return json.loads(
        json.dumps({"snapshot_id": "20260301T050000Z-00000000", "as_of": earlier.isoformat(), "row_counts": counts})
    )  # type: ignore[no-any-return]
