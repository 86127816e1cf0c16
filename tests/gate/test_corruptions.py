# ruff: noqa: E501  # a table is read by its rows
"""Spoiled marts never pass, and the gate says what is wrong; harmless changes do."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from uptake.adapters.marts import MARTS
from uptake.adapters.suites_gx import GxSuites
from uptake.ports import Build, Check

pytestmark = pytest.mark.slow

CORRUPTIONS: list[tuple[str, tuple[str, ...], str, str]] = [
    ("an empty mart", ("delete from marts.accounts_current",), "gx:accounts_current:expect_table_row_count_to_be_between", "found 0"),
    ("no contacts", ("delete from marts.dim_contacts",), "gx:dim_contacts:expect_table_row_count_to_be_between", "found 0"),
    ("no recommendations", ("delete from marts.feature_recommendations",), "gate:rows:feature_recommendations", "0 rows; 712"),
    ("no outcomes any more", ("delete from marts.fct_outcomes",), "gate:rows:fct_outcomes", "0 rows; 60"),
    ("half the rows", ("delete from marts.fct_account_feature_daily where hash(account_id, date_day) % 2 = 0",), "gate:rows:fct_account_feature_daily", "a fall of at most 30%"),
    ("ten times the rows", ("insert into marts.contact_features select md5(contact_id || n), account_id, feature_key, adoption_state, days_used_28, first_used_on, last_used_on, first_adopted_on from marts.contact_features, range(9) as r(n)",), "gate:rows:contact_features", "at most 3 times"),
    ("one account only", ("delete from marts.dim_accounts where account_id <> 'a001'",), "gate:rows:dim_accounts", "1 rows; 60"),
    ("a NULLed key", ("update marts.accounts_current set account_id = null where account_id = 'a001'",), "gx:accounts_current:unexpected_rows_expectation:one_row_per_account", "1 rows"),
    ("a duplicated grain", ("insert into marts.account_features select * from marts.account_features limit 3",), "gx:account_features:unexpected_rows_expectation:one_row_per_account_and_feature", "3 rows"),
    ("a day loaded twice", ("insert into marts.fct_account_feature_daily select * from marts.fct_account_feature_daily where date_day = date '2026-03-01'",), "gx:fct_account_feature_daily:unexpected_rows_expectation:one_row_per_account_and_feature_and_date", "rows"),
    ("a share over one", ("update marts.accounts_current set adoption_breadth = 1.7 where account_id = 'a001'",), "gx:accounts_current:expect_column_values_to_be_between:adoption_breadth", "1 of 60 rows, like 1.7"),
    ("a share in percent", ("update marts.accounts_current set stickiness = stickiness * 100",), "gx:accounts_current:expect_column_values_to_be_between:stickiness", "60 of 60"),
    ("a breadth that does not add up", ("update marts.accounts_current set adoption_breadth = 0.111",), "gx:accounts_current:unexpected_rows_expectation:breadth_is_adopted_over_entitled", "60 rows"),
    ("an unknown state", ("update marts.account_features set adoption_state = 'Adopted' where adoption_state = 'adopted'",), "gx:account_features:expect_column_values_to_be_in_set:adoption_state", "like Adopted"),
    ("a NULL state", ("update marts.account_features set adoption_state = null where account_id = 'a001'",), "gx:account_features:expect_column_values_to_not_be_null:adoption_state", "rows"),
    ("goals moved", ("update marts.account_features set adoption_state = 'adopted' where adoption_state = 'tried'",), "gx:account_features:unexpected_rows_expectation:adopted_means_enough_days", "rows"),
    ("never, but used", ("update marts.account_features set adoption_state = 'never' where adoption_state = 'tried'",), "gx:account_features:unexpected_rows_expectation:never_means_no_use", "rows"),
    ("stale events", ("delete from marts.fct_account_feature_daily where date_day > date '2026-02-27'",), "gate:freshness", "last usage on 2026-02-27"),
    ("future events", ("update marts.fct_account_feature_daily set date_day = date_day + 1",), "gate:freshness", "expected none after as_of"),
    ("an epoch in the wrong unit", ("update marts.dim_accounts set created_at = timestamp '1970-01-21 00:00:00'",), "gx:dim_accounts:unexpected_rows_expectation:created_at_is_plausible", "60 rows"),
    ("a missing mart", ("drop table marts.feature_recommendations",), "gate:columns:feature_recommendations", "is not in the warehouse"),
    ("a renamed column", ("alter table marts.contacts_current rename role to title",), "gate:columns:contacts_current", "column role is missing"),
    ("a retyped column", ("alter table marts.dim_accounts alter arr type varchar",), "gate:columns:dim_accounts", "column arr is of type VARCHAR, expected DOUBLE"),
    ("a local timestamp", ("alter table marts.dim_accounts alter created_at type timestamptz",), "gate:columns:dim_accounts", "TIMESTAMP WITH TIME ZONE, expected TIMESTAMP"),
    ("raw user ids", ("update marts.dim_contacts set contact_id = 'user-' || contact_id",), "gx:dim_contacts:unexpected_rows_expectation:contact_id_is_a_pseudonym", "180 rows"),
    ("an address in a mart", ("update marts.dim_accounts set csm = 'jane@example.invalid'",), "gx:dim_accounts:unexpected_rows_expectation:no_address", "60 rows"),
    ("usage of unknown accounts", ("update marts.fct_account_feature_daily set account_id = 'x' || account_id where account_id < 'a010'",), "gx:fct_account_feature_daily:unexpected_rows_expectation:known_account", "10 rows"),
    ("an unknown feature", ("delete from marts.dim_features where feature_key = 'api'",), "gx:account_features:unexpected_rows_expectation:known_feature", "1 rows"),
    ("an account lost between models", ("delete from marts.accounts_current where account_id = 'a001'",), "gx:accounts_current:unexpected_rows_expectation:same_accounts_as_dim_accounts", "1 rows"),
    ("people in a wrong account", ("update marts.contacts_current set account_id = 'a002' where account_id = 'a001'",), "gx:contacts_current:unexpected_rows_expectation:same_contacts_as_dim_contacts", "rows"),
    ("advice on what was not bought", ("update marts.account_features set is_entitled = false where feature_key = 'sso'",), "gx:feature_recommendations:unexpected_rows_expectation:bought", "rows"),
    ("advice twice on one rank", ("update marts.feature_recommendations set recommendation_rank = 1",), "gx:feature_recommendations:unexpected_rows_expectation:one_row_per_contact_and_recommendation_rank", "rows"),
    ("a mailed holdout", ("update marts.fct_outcomes set count_sends_accepted = 1 where arm = 'holdout'",), "gx:fct_outcomes:unexpected_rows_expectation:holdout_got_no_mail", "20 rows"),
    ("entitlement unknown", ("update marts.account_features set is_entitled = null where account_id = 'a001'",), "gx:account_features:expect_column_values_to_not_be_null:is_entitled", "rows"),
    ("no rule for adoption", ("update marts.dim_features set adopted_days = 0",), "gx:dim_features:expect_column_values_to_be_between:adopted_days", "6 of 6"),
]  # fmt: skip

BENIGN: list[tuple[str, tuple[str, ...]]] = [
    ("nothing", ()),
    ("another column", ("alter table marts.dim_accounts add column industry varchar default 'x'",)),
    ("the order of columns", ("create or replace table marts.dim_features as select adopted_days, * exclude adopted_days from marts.dim_features",)),
    ("the order of rows", ("create or replace table marts.account_features as from marts.account_features order by hash(account_id, feature_key)",)),
    ("a smaller integer", ("alter table marts.dim_accounts alter seats type integer",)),
    ("a view", ("alter table marts.dim_contacts rename to held_contacts", "create view marts.dim_contacts as from marts.held_contacts")),
    ("the first advice taken back", ("delete from marts.feature_recommendations where recommendation_rank = 1", "update marts.feature_recommendations set recommendation_rank = recommendation_rank - 1")),
    ("unknown money and seats", ("update marts.dim_accounts set arr = null, seats = null, currency = null, csm = null", "update marts.accounts_current set arr = null, seats = null, seats_used_share = null, adoption_depth = null, health = null, stickiness = null, usage_trend = null")),
    ("a new account without usage", ("insert into marts.dim_accounts by name select 'zz' as account_id, 'default' as plan", "insert into marts.accounts_current by name select 'zz' as account_id, 'default' as plan, 0 as count_features_entitled, 0 as count_features_adopted")),
    ("a quiet last day", ("delete from marts.fct_account_feature_daily where date_day = date '2026-03-02'",)),
    ("many more outcomes", ("insert into marts.fct_outcomes by name select * exclude n replace (enrollment_id + 1000 * n as enrollment_id, 1 + n as entry_no) from marts.fct_outcomes, range(1, 9) as r(n)",)),
    ("a few accounts fewer", ("delete from marts.feature_recommendations where account_id < 'a005'", "delete from marts.fct_outcomes where account_id < 'a005'")),
]  # fmt: skip


def blocking(checks: tuple[Check, ...]) -> dict[str, Check]:
    return {check.name: check for check in checks if check.blocks}


@pytest.mark.parametrize(
    ("statements", "name", "told"), [row[1:] for row in CORRUPTIONS], ids=[row[0] for row in CORRUPTIONS]
)
def test_a_spoiled_mart_is_held_for_the_right_reason(
    suites: GxSuites, spoil: Callable[..., Build], yesterday: dict[str, Any], statements: tuple[str, ...], name: str, told: str
) -> None:  # fmt: skip
    held = blocking(suites.run(spoil(*statements), history=[yesterday]))
    assert name in held, sorted(held)
    assert told in held[name].detail
    assert all("\n" not in check.detail for check in held.values())
    assert all(check.name in GxSuites.required_names or check.name.startswith("gx:") for check in held.values())
    assert "@" not in "".join(check.detail for check in held.values())


@pytest.mark.parametrize("statements", [row[1] for row in BENIGN], ids=[row[0] for row in BENIGN])
def test_a_harmless_change_passes(
    suites: GxSuites, spoil: Callable[..., Build], yesterday: dict[str, Any], statements: tuple[str, ...]
) -> None:
    checks = suites.run(spoil(*statements), history=[yesterday])
    assert blocking(checks) == {}
    assert {check.name for check in checks} >= GxSuites.required_names


def emptied(text: str) -> str:
    return json.dumps({**json.loads(text), "expectations": []})


def with_first(text: str, **changes: Any) -> str:
    suite = json.loads(text)
    suite["expectations"][0] |= changes
    return json.dumps(suite)


@pytest.mark.parametrize(
    ("rewrite", "status", "told"),
    [
        (lambda text: None, "missing", "contact_features.json does not exist"),
        (lambda text: "", "errored", "JSONDecodeError"),
        (lambda text: text[:-40], "errored", "JSONDecodeError"),
        (lambda text: "[]", "errored", "expected an object"),
        (lambda text: "{}", "missing", "holds no expectation"),
        (emptied, "missing", "holds no expectation"),
        (lambda text: text.replace('"name": "contact_features"', '"name": "other"'), "errored", "'other'"),
        (lambda text: with_first(text, type="expect_something_new"), "errored", "expect_something_new"),
        (lambda text: with_first(text, kwargs={"colum_set": []}), "errored", "colum_set"),
        (lambda text: with_first(text, type="expect_column_values_to_not_be_null", kwargs={"column": "adoption_state"}), "errored", "twice"),
    ],
    ids=["missing", "empty file", "cut off", "a list", "an empty object", "no expectations", "another suite", "unknown type", "unknown argument", "a rule twice"],
)  # fmt: skip
def test_a_suite_that_cannot_be_read_holds(
    suites_without: Callable[..., GxSuites], spoil: Callable[..., Build], yesterday: dict[str, Any],
    rewrite: Callable[[str], str | None], status: str, told: str,
) -> None:  # fmt: skip
    checks = suites_without("contact_features", rewrite).run(spoil(), history=[yesterday])
    held = blocking(checks)
    assert set(held) == {"gate:suite:contact_features"}
    assert held["gate:suite:contact_features"].status == status
    assert told in held["gate:suite:contact_features"].detail
    assert not any(check.name.startswith("gx:contact_features:") for check in checks)


def test_an_expectation_that_breaks_is_errored_and_not_passed(
    suites_without: Callable[..., GxSuites], spoil: Callable[..., Build], yesterday: dict[str, Any]
) -> None:
    broken = {"type": "unexpected_rows_expectation", "kwargs": {"unexpected_rows_query": "select nothing from {batch}"}}
    gate = suites_without("dim_features", lambda text: with_first(text, **broken, meta={"rule": "broken"}))
    held = blocking(gate.run(spoil(), history=[yesterday]))
    assert held["gx:dim_features:unexpected_rows_expectation:broken"].status == "errored"


def test_results_that_are_not_those_of_the_suite_hold(
    suites: GxSuites, spoil: Callable[..., Build], yesterday: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import great_expectations.datasource.fluent.interfaces as gx

    real = gx.Batch.validate

    def forgetful(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = real(self, *args, **kwargs)
        result.results = result.results[1:]
        return result

    monkeypatch.setattr(gx.Batch, "validate", forgetful)
    held = blocking(suites.run(spoil(), history=[yesterday]))
    assert set(held) == {f"gate:suite:{mart}" for mart in MARTS}


def test_a_gx_that_breaks_holds_every_suite(
    suites: GxSuites, spoil: Callable[..., Build], yesterday: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("no context for jane@example.invalid")

    monkeypatch.setattr("great_expectations.get_context", broken)
    held = blocking(suites.run(spoil(), history=[yesterday]))
    assert set(held) == {f"gate:suite:{mart}" for mart in MARTS}
    assert {check.detail for check in held.values()} == {"RuntimeError: no context for (address)"}


def test_a_warehouse_that_is_no_database_holds(
    suites: GxSuites, spoil: Callable[..., Build], yesterday: dict[str, Any]
) -> None:
    build = spoil()
    build.warehouse.write_bytes(b"not a database" * 1000)
    assert set(blocking(suites.run(build, history=[yesterday]))) == GxSuites.required_names
    build.warehouse.unlink()
    assert set(blocking(suites.run(build, history=[yesterday]))) == GxSuites.required_names
    assert not build.warehouse.exists()


def test_a_first_snapshot_is_its_own_baseline(suites: GxSuites, spoil: Callable[..., Build]) -> None:
    checks = {check.name: check for check in suites.run(spoil(), history=[])}
    assert {name for name, check in checks.items() if check.status == "baseline"} == {
        f"gate:rows:{mart}" for mart in MARTS
    }
    assert checks["gate:freshness"].status == "passed"


def test_the_snapshot_nearest_in_time_is_the_one_compared_with(
    suites: GxSuites, spoil: Callable[..., Build], yesterday: dict[str, Any]
) -> None:
    build = spoil()
    long_ago = yesterday | {
        "as_of": (build.as_of - timedelta(days=90)).isoformat(),
        "row_counts": dict.fromkeys(yesterday["row_counts"], 1),
    }
    assert blocking(suites.run(build, history=[long_ago, yesterday])) == {}
    assert blocking(suites.run(build, history=[long_ago]))


def test_a_manifest_that_cannot_be_read_holds(
    suites: GxSuites, spoil: Callable[..., Build], yesterday: dict[str, Any]
) -> None:
    for broken in ({}, yesterday | {"as_of": "soon"}, yesterday | {"row_counts": dict.fromkeys(MARTS, "many")}):
        held = blocking(suites.run(spoil(), history=[broken]))
        assert set(held) == {f"gate:rows:{mart}" for mart in MARTS}


def test_data_docs_show_what_failed_and_need_no_network(
    root: Path, tmp_path: Path, spoil: Callable[..., Build], yesterday: dict[str, Any]
) -> None:
    gate = GxSuites(root / "expectations", tmp_path / "home", docs=True)
    checks = gate.run(spoil("update marts.contacts_current set active_days_28 = 99"), history=[yesterday])
    assert set(blocking(checks)) == {"gx:contacts_current:expect_column_values_to_be_between:active_days_28"}
    site = tmp_path / "home" / "data_docs"
    assert "180 of 180 rows, like 99" in (site / "index.html").read_text()
    assert {page.name for page in (site / "validations").iterdir()} == set(MARTS)
    for page in site.rglob("*.html"):
        assert not re.search(r"(src|href)\s*=\s*[\"']https?:", page.read_text()), page
        assert "<script" not in page.read_text()


def test_every_expectation_says_why_it_is_there(root: Path) -> None:
    for mart in MARTS:
        suite = json.loads((root / "expectations" / f"{mart}.json").read_text())
        for rule in suite["expectations"]:
            assert rule["meta"]["why"], (mart, rule)
            assert rule["severity"] in ("critical", "warning"), (mart, rule)
    assert {path.stem for path in (root / "expectations").glob("*.json")} == set(MARTS)
