# ruff: noqa: E501  # a table is read by its rows
"""A gate that breaks, or that was tampered with, is no gate: it holds. And what it says can be read."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.gate.conftest import ROOT, World
from tests.gate.test_corruptions import blocking
from uptake.adapters import history_checks, suites_gx
from uptake.adapters.check_results import OF_SENDING
from uptake.adapters.marts import MARTS
from uptake.adapters.required_checks import FILE, out_of_step, read_required_of_source
from uptake.adapters.suites_gx import SUITES, GxSuites, read_suite
from uptake.ports import Build, Check

pytestmark = pytest.mark.slow

OF_RAVENSTACK = read_required_of_source(ROOT / "expectations" / FILE, "ravenstack").items()
SUITE_NAMES = {f"gate:suite:{suite.relation}" for suite in SUITES}
HISTORY_NAMES = {*(f"gate:rows:{mart}" for mart in MARTS), *history_checks.CHECKS}


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


@pytest.mark.parametrize(
    ("taken", "missing"),
    [
        ("sources/ravenstack/files.json", {"gate:suite:files", "gx:files:unexpected_rows_expectation:no_byte_order_mark"}),
        ("sources/ravenstack", {name for name, _ in OF_RAVENSTACK}),
    ],
    ids=["a suite", "all suites"],
)  # fmt: skip
def test_a_suite_of_one_source_that_is_gone_holds_that_source_alone(
    root: Path, spoil: Callable[..., Build], yesterday: dict[str, Any], tmp_path: Path, taken: str, missing: set[str]
) -> None:
    folder = tmp_path / "expectations"
    shutil.copytree(root / "expectations", folder)
    if (folder / taken).is_dir():
        shutil.rmtree(folder / taken)
    else:
        (folder / taken).unlink()
    raw = tmp_path / "raw"
    raw.mkdir()
    for name in ("accounts", "churn_events"):
        (raw / f"ravenstack_{name}.csv").write_text("account_id,churn_flag\na1,FALSE\n")
    suites = GxSuites(folder, tmp_path / "home")
    build = dataclasses.replace(spoil(), source="ravenstack", raw=raw)
    held = blocking(suites.run(build, history=[yesterday]))
    assert set(held) == missing
    assert {check.status for check in held.values()} == {"missing"}
    assert {check.detail for check in held.values()} == {"did not run; expected it in every refresh of ravenstack"}
    assert blocking(suites.run(dataclasses.replace(build, source="uptake"), history=[yesterday])) == {}


def test_every_suite_of_a_source_is_named_in_the_list_of_what_must_run(root: Path) -> None:
    folder = root / "expectations"
    sources = [path.name for path in sorted((folder / "sources").iterdir())]
    assert sources
    for source in sources:
        known = {}
        for file in (folder / "sources" / source).glob("*.json"):
            _, names = read_suite(file, file.stem)
            rules = json.loads(file.read_text())["expectations"]
            known |= {name: rule["severity"] for name, rule in zip(names, rules, strict=True)}
            known[f"gate:suite:{file.stem}"] = "critical"
        assert out_of_step(read_required_of_source(folder / FILE, source), known) == []


def test_nobody_looking_whether_a_holdout_was_mailed_holds_mail(
    world: World, suites_without: Callable[..., GxSuites], spoil: Callable[..., Build]
) -> None:
    result = world.refresh(spoil(), suites=suites_without("fct_outcomes", lambda text: None))
    assert [line.partition(" ")[0] for line in result.reasons] == sorted(OF_SENDING)
    assert world.tick()[1] == 0


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
    real = suites_gx.ask

    def forgetful(*args: Any) -> Any:
        return real(*args)[1:]

    monkeypatch.setattr(suites_gx, "ask", forgetful)
    held = blocking(suites.run(spoil(), history=[yesterday]))
    assert set(held) == SUITE_NAMES


def test_a_gx_that_breaks_holds_every_suite(
    suites: GxSuites, spoil: Callable[..., Build], yesterday: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("no context for jane@example.invalid")

    monkeypatch.setattr(suites_gx, "ask", broken)
    held = blocking(suites.run(spoil(), history=[yesterday]))
    assert set(held) == SUITE_NAMES
    assert {check.detail for check in held.values()} == {"RuntimeError: no context for (address)"}


def test_a_warehouse_that_is_no_database_holds(
    suites: GxSuites, spoil: Callable[..., Build], yesterday: dict[str, Any]
) -> None:
    build = spoil()
    build.warehouse.write_bytes(b"not a database" * 1000)
    everything = GxSuites.own_names - {"gate:required"}
    assert set(blocking(suites.run(build, history=[yesterday]))) == everything
    build.warehouse.unlink()
    assert set(blocking(suites.run(build, history=[yesterday]))) == everything
    assert not build.warehouse.exists()


def test_a_first_snapshot_is_its_own_baseline(suites: GxSuites, spoil: Callable[..., Build]) -> None:
    checks = {check.name: check for check in suites.run(spoil(), history=[])}
    assert {name for name, check in checks.items() if check.status == "baseline"} == HISTORY_NAMES
    assert checks["gate:freshness"].status == "passed"


def test_a_manifest_that_cannot_be_read_holds(
    suites: GxSuites, spoil: Callable[..., Build], yesterday: dict[str, Any]
) -> None:
    for broken in ({}, yesterday | {"as_of": "soon"}):
        held = blocking(suites.run(spoil(), history=[broken]))
        assert set(held) == HISTORY_NAMES | {"gate:catalogue"}
    for broken in (yesterday | {"row_counts": dict.fromkeys(MARTS, "many")}, yesterday | {"row_counts": None}):
        assert set(blocking(suites.run(spoil(), history=[broken]))) >= {f"gate:rows:{mart}" for mart in MARTS}
    held = blocking(suites.run(spoil(), history=[yesterday | {"profile": dict.fromkeys(yesterday["profile"], "x")}]))
    assert set(held) == set(history_checks.CHECKS)


def test_data_docs_show_what_failed_and_need_no_network(
    root: Path, tmp_path: Path, spoil: Callable[..., Build], yesterday: dict[str, Any]
) -> None:
    gate = GxSuites(root / "expectations", tmp_path / "home", docs=True)
    build = spoil("update marts.contacts_current set active_days_28 = 99")
    by_dbt = Check(name="dbt:keys", status="failed", severity="critical", detail="1 rows", rows=("account_id=a7",))
    checks = gate.run(dataclasses.replace(build, checks=(by_dbt,)), history=[yesterday])
    assert set(blocking(checks)) == {"gx:contacts_current:expect_column_values_to_be_between:active_days_28"}
    site = tmp_path / "home" / "data_docs"
    front = (site / "index.html").read_text()
    assert "180 of 180 rows, like 99" in front
    assert "2 of" in front
    assert "<td>dbt:keys</td><td>1 rows<br>account_id=a7</td>" in front
    gate.tell([*checks, Check(name="gate:lines", status="failed", severity="critical", detail="9 lines; 8 events")])
    assert "<td>gate:lines</td><td>9 lines; 8 events</td>" in gate.build_docs().read_text()
    staged = {path.stem for path in (root / "expectations" / "staging").glob("*.json")}
    assert {page.name for page in (site / "validations").iterdir()} == {*MARTS, *staged}
    for page in site.rglob("*.html"):
        assert not re.search(r"(src|href)\s*=\s*[\"']https?:", page.read_text()), page
        assert "<script" not in page.read_text()


def test_the_gate_never_ran_and_no_mail_leaves(world: World, spoil: Callable[..., Build]) -> None:
    class Dead(GxSuites):
        def run(self, *args: Any, **kwargs: Any) -> Any:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world.refresh(spoil(), suites=Dead(world.home, world.home))
    assert world.tick()[1] == 0
    assert world.refresh(spoil()).gate == "passed"
    assert world.tick()[1] > 20


def test_every_expectation_says_why_it_is_there(root: Path) -> None:
    for place in SUITES:
        suite = json.loads((root / "expectations" / place.file).read_text())
        for rule in suite["expectations"]:
            assert rule["meta"]["why"], (place, rule)
            assert rule["severity"] in ("critical", "warning"), (place, rule)
    folder = root / "expectations"
    of_all = {str(path.relative_to(folder)) for path in folder.rglob("*.json") if "sources" not in path.parts}
    assert of_all == {place.file for place in SUITES}
