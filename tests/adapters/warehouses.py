"""Small raw folders, and the warehouse that `DbtTransformer` makes of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from uptake.adapters.transformer_dbt import DbtTransformer
from uptake.ports import Build

AS_OF = datetime(2026, 3, 3, 9, 0, tzinfo=UTC)

_NO_TESTS = ("--exclude-resource-type", "test")


class UntestedTransformer(DbtTransformer):
    """Leaves out the data tests, which are most of what a build of a few lines takes."""

    def _invoke(self, command: list[str], manifest: Any) -> Any:
        return super()._invoke([*command, *(_NO_TESTS if command[0] == "build" else ())], manifest)


def rows(build: Build, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(build.warehouse), read_only=True) as session:
        return session.sql(query).fetchall()


def event(at: str, name: str = "dashboards.used", *, account: str = "a1", user: str | None = "u1", **more: Any) -> str:
    fields = {"occurred_at": at, "account_id": account, "user_id": user, "event_name": name, **more}
    return json.dumps({key: value for key, value in fields.items() if value is not None})


def write(folder: Path, **files: list[Any]) -> Path:
    """Write raw inputs: `events_<day>` are event lines, others lists of objects."""
    (folder / "events").mkdir(parents=True, exist_ok=True)
    for name, lines in files.items():
        path = folder / (f"events/{name}.ndjson" if name.startswith("events") else f"{name}.ndjson")
        path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return folder


def copy_of_project(root: Path, tmp_path: Path) -> Path:
    """Copy what belongs to the project, without an engineer's build."""
    project = tmp_path / "project"
    for name in ("models", "macros", "seeds", "tests", "dbt_project.yml", "profiles.yml"):
        for path in [root / "dbt_project" / name, *(root / "dbt_project" / name).rglob("*")]:
            if path.is_file():
                target = project / path.relative_to(root / "dbt_project")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(path.read_bytes())
    return project
