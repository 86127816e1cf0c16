"""An analytics engineer's day, with dbt's own command line on a copy of the project: build, break, read the message."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from playwright.sync_api import sync_playwright

from tests.contract.conftest import dbt_in
from tests.contract.test_marts import EXPECTED
from tests.dbt_copy import copy_of_project

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The project after `dbt build`, and what that said."""
    project = copy_of_project(root, tmp_path_factory.mktemp("engineer"))
    done = dbt_in(project)("build")
    assert done.returncode == 0, done.stdout[-3000:]
    return project, done.stdout


@pytest.fixture
def project(built: tuple[Path, str]) -> Iterator[Path]:
    """The built project, to be edited; what a test edits is put back."""
    before = {path: path.read_bytes() for path in (built[0] / "models").rglob("*") if path.is_file()}
    yield built[0]
    for path, content in before.items():
        if path.read_bytes() != content:
            path.write_bytes(content)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, f"{path.name} has no {old!r}"
    path.write_text(text.replace(old, new, 1))


def without_column(properties: str, column: str) -> str:
    """Take a column out of accounts_current's contract."""
    start = properties.index("- name: accounts_current")
    return properties[:start] + re.sub(rf"\n      - name: {column}\n(        .*\n)+", "\n", properties[start:], count=1)


def test_a_plain_build_makes_marts_that_keep_the_contract(built: tuple[Path, str]):
    with duckdb.connect(str(built[0] / "uptake_dev.duckdb"), read_only=True) as session:
        relations = session.sql(
            "select distinct table_name from duckdb_columns() where schema_name = 'marts'"
        ).fetchall()
        found = {
            mart: [row[:2] for row in session.sql(f"describe marts.{mart}").fetchall()]
            for (mart,) in relations
            if "__" not in mart  # what a table kept by day remembers of its days
        }
        used = session.sql("select count(*) from marts.account_features where days_used_28 > 0").fetchall()
    assert found == EXPECTED
    assert used[0][0] > 0


def test_every_column_that_a_build_makes_is_described(built: tuple[Path, str]):
    manifest = json.loads((built[0] / "target" / "manifest.json").read_text())
    described = {node["name"]: list(node["columns"]) for node in manifest["nodes"].values()}
    with duckdb.connect(str(built[0] / "uptake_dev.duckdb"), read_only=True) as session:
        made = session.sql(
            "select table_name, list(column_name order by ordinal_position) from information_schema.columns"
            " where table_schema in ('seeds', 'staging', 'intermediate', 'marts') group by table_name"
        ).fetchall()
    # What a table kept by day or file remembers beside itself is no model.
    found = {table: columns for table, columns in made if "__" not in table}
    assert len(found) > 25
    assert {table: described[table] for table in found} == found


def test_a_plain_build_of_the_sample_is_clean_and_says_in_one_line_what_it_shows(built: tuple[Path, str]):
    said = built[1]
    assert re.search(r"Done\. PASS=\d+ WARN=0 ERROR=0 SKIP=0", said), said[-500:]
    assert len(re.findall(r"The sample hits \d+ features of the catalogue", said)) == 1
    assert "[WARNING]" not in said
    assert "deprecat" not in said.lower()


def test_a_broken_contract_and_a_column_that_somebody_reads_are_named(project: Path):
    adoption = project / "models/marts/adoption"
    edit(adoption / "dim_features.sql", "guide_url,", "guide_url as guide,")
    properties = adoption / "_adoption__models.yml"
    properties.write_text(without_column(properties.read_text(), "adoption_breadth"))
    done = dbt_in(project)("build", "--select", "dim_features", "assert_every_column_that_is_read_is_in_its_mart")
    assert done.returncode == 1
    assert "Failure in model dim_features (models/marts/adoption/dim_features.sql)" in done.stdout
    assert "This model has an enforced contract that failed" in done.stdout
    assert re.search(r"\| guide_url +\| +\| VARCHAR +\| missing in definition", done.stdout)
    assert re.search(r"\| guide +\| VARCHAR +\| +\| missing in contract", done.stdout)
    said = re.search(r"accounts_current\.adoption_breadth is read by ([^;.]*)", done.stdout.replace("\n", " "))
    assert said is not None
    assert {"Playbook feature-breadth", "Value report", "Account page"} <= set(said[1].split(", "))
    assert "accounts_current.plan" not in done.stdout


def test_dbt_says_who_reads_a_column(built: tuple[Path, str]):
    select = ["--resource-type", "exposure", "--select", "tag:accounts_current.adoption_breadth"]
    done = dbt_in(built[0])("--quiet", "ls", *select)
    readers = {name.removeprefix("exposure:uptake.") for name in done.stdout.split()}
    assert {"playbook_feature_breadth", "report_account", "report_value"} <= readers
    assert not readers & {"playbook_scheduled_reports", "engine"}


def test_the_docs_show_where_numbers_come_from_and_fetch_nothing(built: tuple[Path, str]):
    chromium = shutil.which("chromium")
    if chromium is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("chromium is not installed")
    project = built[0]
    done = dbt_in(project)("docs", "generate", "--static", "--no-compile")
    assert done.returncode == 0, done.stdout[-2000:]
    page_file = (project / "target" / "static_index.html").as_uri()
    asked: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.goto(page_file)
        page.get_by_text("Uptake: what customers use of what they pay for").wait_for()
        page.goto(f"{page_file}#!/model/model.uptake.accounts_current")
        page.get_by_text("adoption_breadth", exact=True).first.wait_for()
        assert "count_features_adopted / count_features_entitled" in page.content()
        page.goto(f"{page_file}#!/exposure/exposure.uptake.playbook_feature_breadth")
        page.get_by_text("Teaches each contact its next best feature").first.wait_for()
        browser.close()
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
