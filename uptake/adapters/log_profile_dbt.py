"""How a source of the dbt project stages its events: compiled by dbt, so that a profile reads them as refresh does."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
from ruamel.yaml import YAML

from uptake.adapters.log_profile_duckdb import StagedEvents
from uptake.errors import TransformError


@dataclass(frozen=True, kw_only=True)
class DbtStagedEvents:
    """Compiles the staging of one source; touches no warehouse.

    project: the dbt project's folder.
    home: where dbt keeps what it parsed, and its log.
    """

    project: Path
    home: Path

    @property
    def sources(self) -> list[str]:
        """The names of the sources that the project can stage."""
        paths = (self.project / "models" / "staging").glob("*/stg_*__events.sql")
        return sorted(path.parent.name for path in paths if path.name == f"stg_{path.parent.name}__events.sql")

    def knows(self, source: str) -> bool:
        """Say whether this is the name of a source, and not of a folder."""
        return source in self.sources

    def __call__(self, source: str, raw: Path) -> StagedEvents:
        """Return the staged events of a source over a raw folder. Raises TransformError."""
        model = f"stg_{source}__events"
        query = "from {{ ref('" + model + "') }}"
        with _environment(UPTAKE_SOURCE=source, UPTAKE_RAW=str(raw.resolve()), UPTAKE_WAREHOUSE=":memory:"):
            compiled = self._compile(query)
        declared = YAML(typ="safe").load(self._folder(source) / f"_{source}__sources.yml")
        patterns = [
            pattern
            for described in declared["sources"]
            for table in described["tables"]
            for pattern in table.get("config", {}).get("meta", {}).get("files", [])
        ]
        return StagedEvents(name=model, sql=compiled, patterns=tuple(patterns), prepare=_prepare)

    def _folder(self, source: str) -> Path:
        return self.project / "models" / "staging" / source

    def _compile(self, query: str) -> str:
        """Return what dbt makes of a query: mappings are ephemeral, so that it stands for itself."""
        from dbt.cli.main import dbtRunner  # dbt takes seconds to import

        project, home = str(self.project.resolve()), self.home.resolve()
        outcome = dbtRunner().invoke(
            [
                "compile", "--inline", query, "--project-dir", project, "--profiles-dir", project,
                "--target", "refresh", "--target-path", str(home / "dbt"), "--log-path", str(home / "logs"),
                "--log-level", "none", "--log-level-file", "none", "--no-write-json", "--no-populate-cache",
            ]
        )  # fmt: skip
        if not outcome.success:
            said = " ".join(str(outcome.exception or "no reason given").split())[:600]
            raise TransformError(f"dbt compile: {said}")
        compiled: str = outcome.result.results[0].node.compiled_code
        return compiled


def _prepare(session: duckdb.DuckDBPyConnection) -> None:
    """Add the functions that staging uses. Nothing here needs the key ring: a profile makes no contact id."""
    from uptake.adapters.dbt_plugin import file_version, line_numbers

    session.create_function("uptake_line_numbers", line_numbers, ["VARCHAR"], "BIGINT[]")
    session.create_function("uptake_file_version", file_version, ["VARCHAR"], "VARCHAR", side_effects=True)


@contextmanager
def _environment(**changes: str) -> Iterator[None]:
    before: Mapping[str, str | None] = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
