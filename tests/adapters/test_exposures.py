"""Who reads which column: as precise as the playbooks are, and never silent about one that is read."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from uptake.adapters import exposures as module
from uptake.adapters.exposures import exposures
from uptake.adapters.playbook_files import PlaybookFiles
from uptake.errors import PlaybookError


def files(root: Path, playbooks: Path | None = None) -> PlaybookFiles:
    return PlaybookFiles(playbooks or root / "playbooks", catalogue=root / "dbt_project/seeds/feature_catalog.csv")


def read(text: str) -> dict[str, Any]:
    return {found["name"]: found for found in YAML(typ="safe").load(text)["exposures"]}


def test_the_exposures_of_the_project_are_current(root: Path):
    written = (root / "dbt_project/models/exposures.yml").read_text(encoding="utf-8")
    assert written == exposures(files(root)), "run `python -m uptake.adapters.exposures`"


def test_a_playbook_reads_what_its_rules_goal_and_texts_name(root: Path):
    found = read(exposures(files(root)))["playbook_feature_breadth"]
    assert found["depends_on"] == [
        f"ref('{mart}')" for mart in sorted({t.split(".")[0] for t in found["config"]["tags"]})
    ]
    assert {
        "accounts_current.adoption_breadth",  # its audience
        "contacts_current.days_since_last_use",
        "contact_features.adoption_state",  # a stage's `when`
        "account_features.adoption_state",  # its goal
        "feature_recommendations.feature_key",  # next_best
        "accounts_current.count_open_tickets",  # an exclusion of the workspace
        "dim_features.guide_url",  # a merge field
    } <= set(found["config"]["tags"])
    assert "accounts_current.health" not in found["config"]["tags"]


def test_an_exclusion_that_a_playbook_opts_out_of_is_not_read_by_it(root: Path):
    found = read(exposures(files(root)))
    assert "accounts_current.age_days" not in found["playbook_github_next_function"]["config"]["tags"]
    assert "accounts_current.age_days" in found["playbook_feature_breadth"]["config"]["tags"]


def test_another_column_in_a_playbook_makes_the_file_stale(root: Path, tmp_path: Path):
    shutil.copytree(root / "playbooks", tmp_path / "playbooks")
    path = tmp_path / "playbooks/feature-breadth/playbook.yml"
    path.write_text(path.read_text().replace("account.adoption_breadth < 0.5", "account.stickiness < 0.5"))
    text = exposures(files(root, tmp_path / "playbooks"))
    assert text != exposures(files(root))
    assert "accounts_current.stickiness" in read(text)["playbook_feature_breadth"]["config"]["tags"]


def test_a_playbook_with_a_column_that_no_mart_has_is_refused_by_file_and_line(root: Path, tmp_path: Path):
    shutil.copytree(root / "playbooks", tmp_path / "playbooks")
    path = tmp_path / "playbooks/feature-breadth/playbook.yml"
    path.write_text(path.read_text().replace("account.adoption_breadth", "account.adoption_breath"))
    with pytest.raises(
        PlaybookError, match=r"feature-breadth/playbook.yml:\d+: .*unknown column `account.adoption_breath`"
    ):
        exposures(files(root, tmp_path / "playbooks"))


def test_sql_is_read_by_the_names_it_gives_to_marts():
    sql = """
    select account.plan, seats_band(seats), count_contacts from accounts_current as account
    join contact_features as own on own.feature_key = x.feature_key
    """
    assert module._in_sql(sql) == {
        ("accounts_current", "plan"), ("accounts_current", "seats"), ("accounts_current", "count_contacts"),
        ("contact_features", "feature_key"),
    }  # fmt: skip
    assert module._in_sql("a plan for seats, in words") == set()


def test_whatever_a_page_asks_of_an_account_is_read(root: Path):
    page = (root / "uptake/adapters/pages/account.html.j2").read_text()
    asked = {f"accounts_current.{column}" for column in re.findall(r"page\.facts\.(\w+)", page)}
    assert len(asked) > 5
    assert asked <= set(read(exposures(files(root)))["report_account"]["config"]["tags"])
