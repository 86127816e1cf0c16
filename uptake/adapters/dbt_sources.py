"""What dbt-duckdb loads into its sessions so that models can read other formats and mappings.

Loaded by `dbt_project/profiles.yml`, so it works for a plain `dbt build` as well. Copies that DuckDB reads instead of
CSV, Parquet or archives lie below the home while a session lives, and nowhere else.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbt.adapters.duckdb.plugins import BasePlugin

from uptake.adapters.raw_files import MARK, PROBLEMS, Reader, as_ndjson
from uptake.adapters.source_mapping import read_mapping

if TYPE_CHECKING:
    import duckdb


class RawFiles:
    """The functions of one session: `add_to` it, and `close` when it ends."""

    def __init__(self, home: Path) -> None:
        """Name the home that copies may lie in."""
        self._below = home.resolve() / MARK
        self._folder: Path | None = None
        self._copies: dict[tuple[str, str, int, int], str] = {}
        self._mappings: dict[tuple[str, str], str] = {}

    def add_to(self, session: duckdb.DuckDBPyConnection) -> None:
        """Register the functions that the macros call."""
        session.create_function("uptake_as_ndjson", self.as_ndjson, ["VARCHAR[]", "VARCHAR"], "VARCHAR[]")
        session.create_function("uptake_record_lines", record_lines, ["VARCHAR", "VARCHAR"], "BIGINT[]")
        session.create_function("uptake_record_problem", record_problem, ["VARCHAR"], "VARCHAR")
        session.create_function("uptake_mapping", self.mapping, ["VARCHAR", "VARCHAR"], "VARCHAR")

    def as_ndjson(self, patterns: list[str], reader: str) -> list[str]:
        """Return paths that DuckDB reads as NDJSON, for all files of these patterns; each file is copied once."""
        how = Reader.model_validate_json(reader)
        found = []
        for path in _files(patterns):
            state = Path(path).stat()
            key = (path, reader, state.st_size, state.st_mtime_ns)
            if key not in self._copies:
                self._copies[key] = as_ndjson([path], how, self._own_folder())[0]
            found.append(self._copies[key])
        return found

    def mapping(self, path: str, raw: str) -> str:
        """Return a mapping, held against a raw folder, as JSON."""
        if (path, raw) not in self._mappings:
            self._mappings[path, raw] = json.dumps(read_mapping(Path(path)).resolved(Path(raw)))
        return self._mappings[path, raw]

    def close(self) -> None:
        """Remove the copies."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            with contextlib.suppress(OSError):  # somebody else's lie there, too
                self._below.rmdir()
            self._folder = None

    def __del__(self) -> None:
        """Remove the copies of a session that nobody closed, as dbt's are."""
        self.close()

    def _own_folder(self) -> Path:
        """Return this session's folder, and remove those of processes that are gone."""
        if self._folder is None:
            self._below.mkdir(parents=True, exist_ok=True)
            for left in self._below.glob("*-*"):
                if not _is_alive(left.name.split("-")[0]):
                    shutil.rmtree(left, ignore_errors=True)
            self._folder = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=self._below))
        return self._folder


def record_lines(path: str, reader: str) -> list[int]:
    """Return where the records of a file begin, in order, as lines counted from 1."""
    return [number for number, _ in Reader.model_validate_json(reader).records(Path(path))]


def record_problem(line: str) -> str:
    """Return why a record could not become a line of JSON, '' if that is not what this number says."""
    return PROBLEMS.get(int(line), "") if line.isdecimal() and len(line) < 3 else ""


def _files(patterns: list[str]) -> list[str]:
    """Return every file once, in order; a path is a pattern of itself, whatever stands in it."""
    found: dict[str, None] = {}
    for pattern in patterns:
        matching = [pattern] if Path(pattern).is_file() else sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207
        found |= dict.fromkeys(path for path in matching if Path(path).is_file())
    return list(found)


def _is_alive(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        return True
    return True


class Plugin(BasePlugin):  # type: ignore[misc]  # dbt-duckdb has no types
    """Found by dbt-duckdb under this name."""

    def initialize(self, plugin_config: dict[str, Any]) -> None:
        """Take the home from the profile."""
        self._files = RawFiles(Path(plugin_config["home"]))

    def configure_connection(self, conn: duckdb.DuckDBPyConnection) -> None:
        """Add the functions that staging uses."""
        self._files.add_to(conn)
