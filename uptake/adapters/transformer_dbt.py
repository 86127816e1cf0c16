"""Builds the candidate marts: one dbt in this process, its manifest kept warm between builds."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import duckdb
import pyarrow as pa

from uptake.adapters.dbt_ephemeral import quick_injection
from uptake.adapters.dbt_failures import with_rows
from uptake.adapters.freshness import declared_limits, mapped_limits, source_freshness
from uptake.adapters.key_ring import open_key_ring
from uptake.adapters.playbook_yaml import meant
from uptake.adapters.read_errors import plain_reason
from uptake.adapters.source_mapping import MappingFile, read_mapping
from uptake.errors import TransformError
from uptake.ports import Build, Check

if TYPE_CHECKING:
    from dbt.contracts.graph.manifest import Manifest

Severity = Literal["critical", "warning"]

_TARGET = "refresh"  # of profiles.yml
_MAPPED = "mapping"  # the folder of models/staging that stages any mapping

#: dbt works with the process's environment and working directory, so only one invocation runs at a time.
_ONE_AT_A_TIME = threading.Lock()
#: (project, folder of models/staging) -> (state of the project's files, manifest): parsing costs seconds, and most
#: processes build often.
_MANIFESTS: dict[tuple[Path, str], tuple[int, Manifest]] = {}


@dataclass(frozen=True, kw_only=True)
class DbtTransformer:
    """Runs `dbt build` on the warehouse of one home.

    project: the dbt project's folder.
    home: where the warehouse, dbt's logs and the key ring are.
    ledger_export: folder of Parquet files that the outcomes are counted from; default HOME/ledger_export.
    mapping: a mapping file, whose name then is a source; those in the project's `mappings` are sources anyway.
    """

    project: Path
    home: Path
    ledger_export: Path | None = None
    mapping: Path | None = None

    @property
    def warehouse(self) -> Path:
        """The DuckDB file with the candidate marts."""
        return self.home.resolve() / "warehouse.duckdb"

    def build(self, *, source: str, raw: Path, as_of: datetime | None) -> Build:
        """Build all marts of `source` from the folder `raw`, as of `as_of` (None: the source's rule, else now).

        Raises TransformError when a model cannot be built; a failed test is a Check.
        """
        from dbt_common.invocation import get_invocation_id  # dbt takes seconds to import

        mapping = self._mapping_of(source)
        if not raw.is_dir():
            raise TransformError(f"{raw}: no such folder; expected the raw logs of source {source!r} there")
        if mapping is not None:
            mapping.resolved(raw.resolve())  # what is wrong with it is said in one line, before dbt says it in many
        staging = source if mapping is None else _MAPPED
        self.home.mkdir(parents=True, exist_ok=True)
        moment = "" if as_of is None else as_of.astimezone(UTC).isoformat()
        chosen = source if mapping is None else str(mapping.path)
        with _ONE_AT_A_TIME, self._environment(source=chosen, raw=raw, as_of=moment):
            manifest = self._manifest(staging)
            outcome = self._invoke(["build", "--exclude-resource-type", "unit_test"], manifest)
            invocation_id = get_invocation_id()
        results = {result.node.unique_id: result for result in outcome}
        _refuse_broken_models(results)
        with self._session() as session:
            checks = with_rows(session, _checks_of(manifest, results), results)
            [(built_at,)] = session.sql("select as_of from intermediate.int_as_of").fetchall()
            built_as_of = built_at.replace(tzinfo=UTC)
            limits = declared_limits(manifest, staging) if mapping is None else mapped_limits(mapping)
            checks.append(source_freshness(session, source, limits, built_as_of))
            return Build(
                warehouse=self.warehouse,
                invocation_id=invocation_id,
                as_of=built_as_of,
                checks=tuple(sorted(checks, key=lambda check: check.name)),
                counts=_counts(session),
                unmapped_events=_unmapped_events(session),
            )

    def people(self, warehouse: Path) -> pa.Table:
        """Return `stg_people`, read from the raw files at this moment: the warehouse does not hold it."""
        from uptake.adapters.dbt_sources import RawFiles
        from uptake.adapters.keyed_hash_duckdb import set_key

        with self._session(warehouse) as session, contextlib.closing(RawFiles(self.home)) as files:
            set_key(session, open_key_ring(self.home).pseudonym)
            files.add_to(session)
            return session.sql("select * from staging.stg_people order by contact_id").to_arrow_table()

    # --- dbt ---------------------------------------------------------------------------------------------

    def _mapping_of(self, source: str) -> MappingFile | None:
        """Return the mapping that is this source, None when a folder of models is it. Raises TransformError."""
        folders = {
            path.parent.name
            for path in (self.project / "models" / "staging").glob("*/stg_*__events.sql")
            if path.name == f"stg_{path.parent.name}__events.sql"
        } - {_MAPPED}
        shipped = {path.stem: path for path in (self.project / "mappings").glob("*.yml")}
        if self.mapping is not None and (mapping := read_mapping(self.mapping)).name == source:
            if source in folders:
                raise TransformError(f"{self.mapping}: the name {source!r} is that of a source in models/staging")
            return mapping
        if source in folders:
            return None
        if source in shipped:
            return read_mapping(shipped[source])
        known = sorted(folders | set(shipped))
        raise TransformError(f"unknown source {source!r}{meant(source, known)} (or name a mapping file, .yml)")

    @contextlib.contextmanager
    def _environment(self, *, source: str, raw: Path, as_of: str) -> Iterator[None]:
        """Tell models and profile what to do. Not as `--vars`: those would make dbt parse everything again."""
        changes = {
            "UPTAKE_SOURCE": source,
            "UPTAKE_RAW": str(raw.resolve()),
            "UPTAKE_AS_OF": as_of,
            "UPTAKE_WAREHOUSE": str(self.warehouse),
            "UPTAKE_LEDGER_EXPORT": str((self.ledger_export or self.home / "ledger_export").resolve()),
            "UPTAKE_HOME": str(self.home.resolve()),
        }
        before = {name: os.environ.get(name) for name in changes}
        os.environ.update(changes)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value

    def _manifest(self, staging: str) -> Manifest:
        """Return the parsed project with one folder of `models/staging` active: all mappings share theirs."""
        project = self.project.resolve()
        state = _state_of(project)
        known = _MANIFESTS.get((project, staging))
        if known is None or known[0] != state:
            known = (state, self._invoke(["parse"], None))
            _MANIFESTS[project, staging] = known
        for node in known[1].nodes.values():
            # A warm manifest remembers that ephemeral models were put in, but their SQL is compiled anew.
            if node.resource_type in ("model", "test"):
                node.extra_ctes_injected, node.extra_ctes = False, []
        return known[1]

    def _invoke(self, command: list[str], manifest: Manifest | None) -> Any:
        """Run one dbt command and return its result. What it says is not kept: its errors are raised."""
        from dbt.adapters.duckdb.connections import DuckDBConnectionManager
        from dbt.cli.main import dbtRunner

        project = str(self.project.resolve())
        arguments = [*command, "--project-dir", project, "--profiles-dir", project, "--target", _TARGET]
        arguments += [
            "--target-path",
            str(self.home.resolve() / "dbt"),
            "--log-path",
            str(self.home.resolve() / "logs"),
        ]
        arguments += ["--log-level", "none", "--log-level-file", "none", "--no-write-json"]
        try:
            with quick_injection():
                outcome = dbtRunner(manifest=manifest).invoke(arguments)
        finally:
            # dbt-duckdb keeps the file open for the life of the process; nobody else could open it.
            if DuckDBConnectionManager._ENV is not None:
                DuckDBConnectionManager._ENV.close()
            DuckDBConnectionManager.close_all_connections()
        if outcome.exception is not None:
            raise TransformError(f"dbt {command[0]}: {_one_line(str(outcome.exception))}") from outcome.exception
        return outcome.result

    @contextlib.contextmanager
    def _session(self, warehouse: Path | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open the warehouse for reading."""
        with duckdb.connect(str(warehouse or self.warehouse), read_only=True) as session:
            session.execute("set TimeZone = 'UTC'")
            yield session


def _state_of(project: Path) -> int:
    """Return a number that changes when a file of the project does."""
    folders = [project / name for name in ("models", "macros", "seeds", "tests")]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    stats = [(str(path), path.stat()) for path in [*files, *project.glob("*.yml")]]
    return hash(tuple(sorted((path, stat.st_mtime_ns, stat.st_size) for path, stat in stats)))


def _one_line(text: str, *, limit: int = 600) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[:limit]} ..."


# --- what came of it ----------------------------------------------------------------------------------------


def _refuse_broken_models(results: Mapping[str, Any]) -> None:
    broken = [
        result
        for result in results.values()
        if result.node.resource_type in ("model", "seed") and result.status == "error"
    ]
    if broken:
        first = broken[0].node
        others = f" (and {len(broken) - 1} more)" if len(broken) > 1 else ""
        said = broken[0].message or "no reason given"
        message = _one_line(plain_reason(said) or said)
        raise TransformError(f"{first.resource_type} {first.name}, {first.original_file_path}{others}: {message}")


def _checks_of(manifest: Manifest, results: Mapping[str, Any]) -> list[Check]:
    """Return one check per data test the project has, run or not, and one per model that was not built."""
    checks = []
    for unique_id, node in manifest.nodes.items():
        result = results.get(unique_id)
        if node.resource_type == "test":
            checks.append(_check(node, result))
        elif node.resource_type == "model" and node.config.materialized != "ephemeral" and _did_not_run(result):
            detail = "not built, because a test before it failed" if result else "not built"
            checks.append(Check(name=f"dbt:{node.name}", status="missing", severity="critical", detail=detail))
    return checks


def _did_not_run(result: Any) -> bool:
    return result is None or result.status == "skipped"


def _check(node: Any, result: Any) -> Check:
    name = f"dbt:{node.name}"
    severity: Severity = "warning" if str(node.config.severity).lower() == "warn" else "critical"
    if _did_not_run(result):
        return Check(name=name, status="missing", severity=severity, detail="the test did not run")
    if result.status == "pass":
        return Check(name=name, status="passed", severity=severity)
    if result.status in ("fail", "warn"):
        detail = f"{result.failures} rows fail; expected none ({node.original_file_path})"
        return Check(
            name=name, status="failed", severity="warning" if result.status == "warn" else severity, detail=detail
        )
    return Check(name=name, status="errored", severity=severity, detail=_one_line(result.message or str(result.status)))


_COUNTS = {
    "accounts": "select count(*) from marts.dim_accounts",
    "users": "select count(distinct user_id) from intermediate.int_contacts",
    "features": "select count(*) from marts.dim_features",
}


def _counts(session: duckdb.DuckDBPyConnection) -> dict[str, int]:
    loaded: dict[str, int] = session.sql("select * from staging.stg_load_counts").to_arrow_table().to_pylist()[0]
    return loaded | {name: session.sql(query).fetchall()[0][0] for name, query in _COUNTS.items()}


def _unmapped_events(session: duckdb.DuckDBPyConnection) -> dict[str, int]:
    query = (
        "select event_name, count_events from intermediate.int_unmapped_events order by count_events desc, event_name"
    )
    return dict(session.sql(query).fetchall())
