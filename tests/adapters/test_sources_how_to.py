"""docs/map-your-log.md, followed to the letter."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from uptake.adapters.log_profile_duckdb import DuckLogProfiler
from uptake.adapters.source_mapping import read_mapping
from uptake.domain.mapping_draft import mapping_draft

pytestmark = pytest.mark.slow


def blocks(root: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (root / "docs/map-your-log.md").read_text(), re.DOTALL)


def test_a_newcomer_who_follows_the_page_has_marts(root, tmp_path):
    (tmp_path / "my-logs").mkdir()
    (tmp_path / "my-logs/usage.csv").write_text(blocks(root, "csv")[0])
    mapping, features = blocks(root, "yaml")
    (tmp_path / "my-log.yml").write_text(mapping)
    command = shlex.split(blocks(root, "sh")[0])
    assert command[0] == "uptake"
    done = subprocess.run(
        [sys.executable, "-c", "from uptake.cli import main; main()", *command[1:], "--json"],
        cwd=tmp_path,
        env={**os.environ, "UPTAKE_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    found = json.loads(done.stdout)
    counts = ("lines", "events", "duplicates", "quarantined", "unattributed", "accounts", "users", "features")
    assert [found[name] for name in counts] == [5, 4, 0, 1, 0, 2, 3, 2]
    assert found["unmapped_events"] == {}
    assert not [reason for reason in found["reasons"] if reason.startswith("dbt:")]

    (tmp_path / "my-log.yml").write_text(mapping + features)
    named = read_mapping(tmp_path / "my-log.yml").resolved(tmp_path / "my-logs")["features"]
    assert [(one["feature_key"], one["ladder_rank"]) for one in named] == [("reports", 1), ("exports", 2)]


def test_inspect_drafts_what_the_page_then_says(root, tmp_path):
    (tmp_path / "usage.csv").write_text(blocks(root, "csv")[0])
    log = DuckLogProfiler().profile(tmp_path, source=None, now=datetime(2026, 11, 22, tzinfo=UTC))
    (tmp_path / "drafted.yml").write_text(mapping_draft(log, name="my_log") or "")
    (tmp_path / "page.yml").write_text(blocks(root, "yaml")[0])
    drafted, page = (read_mapping(tmp_path / name).resolved(tmp_path) for name in ("drafted.yml", "page.yml"))
    fields = ("account_id", "user_id", "event_name", "occurred_at")
    found, expected = (
        {name: one["inputs"]["events"]["fields"][name]["says"] for name in fields} for one in (drafted, page)
    )
    assert found == expected
    assert drafted["as_of"] == page["as_of"]


def test_every_example_of_the_page_is_a_mapping(root, tmp_path):
    (tmp_path / "x.yml").write_text("")
    rows = re.findall(r"^\| [^|]+\| (.*) \|$", (root / "docs/map-your-log.md").read_text(), re.MULTILINE)
    examples = [
        code
        for row in rows
        for code in re.findall(r"`((?:account_id|user_id|event_name|event_id|occurred_at|reader): .*?)`", row)
    ]
    assert len(examples) >= 10
    for example in examples:
        key = example.split(":")[0]
        fields = {"account_id": "a", "event_name": "e", "occurred_at": "t"}
        fields.pop(key, None)
        lines = [f"  {name}: {value}" for name, value in fields.items()] + [f"  {example}"]
        (tmp_path / "x.yml").write_text("name: x\nevents:\n  files: x.csv\n" + "\n".join(lines) + "\n")
        assert read_mapping(tmp_path / "x.yml").name == "x", example
