"""The tests that lie beside each shipped playbook: rows and days in, decisions out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.spec.playbook_runner import Case, read_cases
from uptake.adapters.playbook_files import PlaybookFiles

ROOT = Path(__file__).resolve().parents[2]
CASES = [
    pytest.param(path.parent.parent.name, case, id=f"{path.parent.parent.name}: {case['says']}")
    for path in sorted((ROOT / "playbooks").glob("*/tests/*.yml"))
    for case in read_cases(path)
]


@pytest.mark.parametrize(("name", "case"), CASES)
def test_a_playbook_decides_what_its_tests_say(name: str, case: dict[str, Any], tmp_path: Path) -> None:
    files = PlaybookFiles(ROOT / "playbooks", catalogue=ROOT / "dbt_project" / "seeds" / "feature_catalog.csv")
    entering, left_out, decided = Case(files.release(name), case, tmp_path).run()
    assert entering == case.get("enters", {})
    assert left_out == case.get("left_out", {})
    expected = {
        day: found
        for day, step in case.get("days", {}).items()
        if (found := {key: told for key, told in step.items() if key not in ("change", "close", "answers")})
    }
    assert decided == expected


def test_every_shipped_playbook_has_tests() -> None:
    files = PlaybookFiles(ROOT / "playbooks", catalogue=ROOT / "dbt_project" / "seeds" / "feature_catalog.csv")
    tested = {path.parent.parent.name for path in (ROOT / "playbooks").glob("*/tests/*.yml")}
    assert set(files.names()) == tested
