"""Small raw folders, and the warehouse that `DbtTransformer` makes of them."""

from __future__ import annotations

import json
from collections.abc import Callable
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


def builder(root: Path, home: Path) -> Callable[..., Build]:
    """Return what builds the marts of a raw folder in one home; with their checks only if asked to."""

    def run(raw: Path, *, source: str = "uptake", as_of: datetime | None = AS_OF, is_tested: bool = False) -> Build:
        transformer = DbtTransformer if is_tested else UntestedTransformer
        return transformer(project=root / "dbt_project", home=home).build(source=source, raw=raw, as_of=as_of)

    return run
