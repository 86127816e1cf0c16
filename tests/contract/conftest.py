"""The dbt project as an engineer has it: a copy of its own, and dbt's command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.dbt_copy import copy_of_project

Dbt = Callable[..., subprocess.CompletedProcess[str]]


def dbt_in(project: Path) -> Dbt:
    """Return dbt as the command line of an engineer who set nothing."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("UPTAKE_", "DBT_"))}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        dbt = Path(sys.executable).with_name("dbt")
        command = [str(dbt), *arguments]
        return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)

    return run


@pytest.fixture(scope="session")
def manifest(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What dbt understands of the project."""
    project = copy_of_project(root, tmp_path_factory.mktemp("parsed"))
    done = dbt_in(project)("--quiet", "parse")
    assert done.returncode == 0, done.stdout[-3000:]
    found: dict[str, Any] = json.loads((project / "target" / "manifest.json").read_text())
    return found
