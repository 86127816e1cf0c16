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
from uptake.adapters.source_mapping import read_mapping
from uptake.domain.catalogue import MAPPING_SUFFIXES
from uptake.errors import TransformError

_MAPPED = "mapping"  # the folder that stages every mapping


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
        """The names of the sources that the project can stage: folders of models, and mappings."""
        paths = (self.project / "models" / "staging").glob("*/stg_*__events.sql")
        folders = {path.parent.name for path in paths if path.name == f"stg_{path.parent.name}__events.sql"}
        return sorted((folders - {_MAPPED}) | set(self._mappings))

    def name_of(self, source: str) -> str | None:
        """Return what the catalogue calls a source, or a mapping file; None when it is neither."""
        path = self.mapping_of(source)
        if path is not None:
            return read_mapping(path).name
        return source if source in self.sources else None

    def mapping_of(self, source: str) -> Path | None:
        """Return the mapping file that a source is; None when it is none, or a folder of models."""
        return Path(source) if source.endswith(MAPPING_SUFFIXES) else self._mappings.get(source)

    def __call__(self, source: str, raw: Path) -> StagedEvents:
        """Return the staged events of a source, or of a mapping file, over a raw folder. Raises TransformError."""
        path = self.mapping_of(source)
        if path is not None:
            mapping = read_mapping(path)
            mapping.resolved(raw.resolve())  # what is wrong with it is said in one line, before dbt says it in many
            model, chosen = f"stg_{_MAPPED}__events", str(mapping.path)
            patterns = [pattern for one in mapping.mapping.inputs.values() for pattern in one.files]
            patterns += mapping.mapping.lookup[1].files if mapping.mapping.lookup else ()
        else:
            model, chosen, patterns = f"stg_{source}__events", source, self._declared_patterns(source)
        raw_folder = str(raw.resolve())
        with _environment(
            UPTAKE_SOURCE=chosen,
            UPTAKE_RAW=raw_folder,
            UPTAKE_WAREHOUSE=":memory:",
            UPTAKE_HOME=str(self.home.resolve()),
        ):
            compiled = self._compile("from {{ ref('" + model + "') }}")
        return StagedEvents(
            name=model if path is None else path.name, sql=compiled, patterns=tuple(patterns), prepare=self._prepare
        )

    @property
    def _mappings(self) -> dict[str, Path]:
        return {path.stem: path for path in (self.project / "mappings").glob("*.yml")}

    def _declared_patterns(self, source: str) -> list[str]:
        folder = self.project / "models" / "staging" / source
        declared = YAML(typ="safe").load(folder / f"_{source}__sources.yml")
        return [
            pattern
            for described in declared["sources"]
            for table in described["tables"]
            for pattern in table.get("config", {}).get("meta", {}).get("files", [])
        ]

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

    def _prepare(self, session: duckdb.DuckDBPyConnection) -> None:
        """Add the functions that staging uses. Nothing here needs the key ring: a profile makes no contact id."""
        from uptake.adapters.dbt_plugin import file_version, line_numbers
        from uptake.adapters.dbt_sources import RawFiles

        session.create_function("uptake_line_numbers", line_numbers, ["VARCHAR", "BIGINT[]"], "BIGINT[]")
        session.create_function("uptake_file_version", file_version, ["VARCHAR"], "VARCHAR", side_effects=True)
        RawFiles(self.home).add_to(session)


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
