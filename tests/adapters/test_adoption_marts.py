"""The adoption marts of a simulated customer base, against the same numbers counted another way."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from uptake.adapters.transformer_dbt import DbtTransformer
from uptake.ports import Build
from uptake.sandbox.base import CustomerBase, simulate
from uptake.sandbox.catalogue import read_catalogue
from uptake.sandbox.friction import NAMES
from uptake.sandbox.usage import Usage

pytestmark = pytest.mark.slow

SUNDAY = date(2026, 2, 8)
TODAY = date(2026, 2, 25)  # a Wednesday
FIRST = -100  # day of the base


@pytest.fixture(scope="module")
def base(root: Path) -> CustomerBase:
    features = read_catalogue(root / "dbt_project" / "seeds" / "feature_catalog.csv")
    return simulate(11, features, accounts=60, contacts=500)


@pytest.fixture(scope="module")
def raw(base: CustomerBase, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    usage = Usage(base)
    for day in range(FIRST, base.day_of(TODAY) + 1):
        usage.write_day(folder, base.date_of(day), ())
    base.write(folder, on=TODAY + timedelta(days=1))
    return folder


@pytest.fixture(scope="module")
def marts(root: Path, raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """A session with the marts of today, and those of that Sunday's last second under `then`."""
    home = tmp_path_factory.mktemp("home")
    transformer = DbtTransformer(project=root / "dbt_project", home=home)

    def build(on: date) -> Build:
        as_of = datetime.combine(on, time(23, 59, 59), UTC)
        return transformer.build(source="uptake", raw=raw, as_of=as_of)

    build(SUNDAY).warehouse.rename(home / "then.duckdb")
    done = build(TODAY)
    assert {check.name for check in done.checks if check.blocks} == set()
    assert not set(done.unmapped_events) & set(NAMES)
    with duckdb.connect() as session:
        session.execute(f"attach '{done.warehouse}' as warehouse (read_only)")
        session.execute(f"attach '{home / 'then.duckdb'}' as past (read_only)")
        session.execute("use warehouse")
        yield session


HISTORY = (
    "plan", "seats", "age_days", "count_features_entitled", "count_features_adopted", "adoption_breadth",
    "count_active_contacts_28", "seats_used_share", "usage_trend", "health", "health_coverage", "health_band",
)  # fmt: skip


def test_history_is_what_accounts_current_said_on_that_day(marts: duckdb.DuckDBPyConnection) -> None:
    columns = ", ".join(
        f"round({name}, 9) as {name}" if name in ("health", "usage_trend") else name
        for name in ("account_id", *HISTORY)
    )
    said = marts.sql(
        f"select {columns} from past.marts.accounts_current where not churned and age_days >= 0 order by 1"
    ).fetchall()
    told = marts.sql(
        f"select {columns} from marts.fct_account_health_weekly where week_ends_on = date '{SUNDAY}' order by 1"
    ).fetchall()
    assert len(said) > 50
    assert told == said
    assert {row[-1] for row in said} >= {"green", "yellow"}


def test_history_has_every_finished_week_whose_window_is_in_the_log(
    base: CustomerBase, marts: duckdb.DuckDBPyConnection
) -> None:
    weeks = [
        row[0]
        for row in marts.sql("select distinct week_ends_on from marts.fct_account_health_weekly order by 1").fetchall()
    ]
    expected = [
        day
        for day in (base.date_of(FIRST) + timedelta(days=n) for n in range(27, 200))
        if day.weekday() == 6 and day < TODAY
    ]
    assert weeks == expected


def test_friction_is_counted_by_kind_and_is_neither_use_nor_unmapped(
    raw: Path, base: CustomerBase, marts: duckdb.DuckDBPyConnection
) -> None:
    met: Counter[tuple[str, str]] = Counter()
    for day in range(28):
        text = (raw / "events" / f"{TODAY - timedelta(days=day)}.ndjson").read_text()
        for line in text.splitlines():
            if '"event_id":"f-' in line:
                event = json.loads(line)
                met[event["account_id"], event["event_name"]] += 1
    columns = dict(
        zip(
            ("auth.sign_in_failed", "app.error", "app.unsupported_browser", "network.request_blocked"),
            (
                "count_sign_in_failures_28",
                "count_errors_28",
                "count_unsupported_browsers_28",
                "count_blocked_requests_28",
            ),
            strict=True,
        )
    )
    for mart in ("accounts_current", "contacts_current"):
        found = {
            (account, name): count
            for name, column in columns.items()
            for account, count in marts.sql(
                f"select account_id, sum({column}) from marts.{mart} group by 1 having sum({column}) > 0"
            ).fetchall()
        }
        assert found == met
    assert marts.sql("select bool_and(count_friction_28 is not null) from marts.accounts_current").fetchone() == (True,)
    names = marts.sql("select distinct event_name from intermediate.int_event_features where feature_key is not null")
    assert not {name for (name,) in names.fetchall()} & set(NAMES)


def test_customers_use_so_much_of_what_they_pay_for_is_one_query(root: Path, marts: duckdb.DuckDBPyConnection) -> None:
    text = (root / "dbt_project/analyses/share_of_what_is_paid_for.sql").read_text()
    text, count_marts = re.subn(r"\{\{ ref\('(\w+)'\) \}\}", r"marts.\1", text)
    assert count_marts == 1
    (found,) = marts.sql(text).to_arrow_table().to_pylist()

    rows: list[dict[str, Any]] = marts.sql(
        """
        select account_id, arr, adoption_state = 'adopted' as is_adopted, days_used_28 > 0 as is_used
        from marts.account_features
        inner join marts.dim_accounts using (account_id)
        where is_entitled and not churned and not is_internal
        """
    ).to_arrow_table().to_pylist()  # fmt: skip
    accounts = {row["account_id"] for row in rows}
    arr = {row["account_id"]: row["arr"] for row in rows}
    own = {account: [row["is_adopted"] for row in rows if row["account_id"] == account] for account in accounts}
    assert found["count_accounts"] == len(accounts) > 40
    assert found["share_adopted"] == pytest.approx(sum(row["is_adopted"] for row in rows) / len(rows))
    assert found["share_used"] == pytest.approx(sum(row["is_used"] for row in rows) / len(rows))
    weighed = sum(arr[account] * sum(states) / len(states) for account, states in own.items()) / sum(arr.values())
    assert found["share_adopted_by_arr"] == pytest.approx(weighed)
    assert 0 < found["share_adopted"] < found["share_used"] < 1


def test_both_ladder_and_rules_advise_and_never_what_is_known_or_not_bought(marts: duckdb.DuckDBPyConnection) -> None:
    chosen = dict(marts.sql("select chosen_by, count(*) from marts.feature_recommendations group by 1").fetchall())
    assert chosen.keys() == {"ladder", "rule"}
    firsts = marts.sql(
        "select count(distinct feature_key) from marts.feature_recommendations where recommendation_rank = 1"
    )
    assert firsts.fetchall()[0][0] > 10
    wrong = marts.sql(
        """
        select advice.contact_id, advice.feature_key
        from marts.feature_recommendations as advice
        left join marts.account_features as owned using (account_id, feature_key)
        left join marts.contact_features as known using (contact_id, feature_key)
        where owned.is_entitled is not true or known.adoption_state = 'adopted'
        """
    )
    assert wrong.fetchall() == []
