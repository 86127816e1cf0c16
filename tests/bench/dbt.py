"""dbt as an analytics engineer runs it, in this process or as a command: the floor of what is built around it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from tests.bench.usage import PROJECT


def environment(*, raw: Path, home: Path, as_of: datetime) -> dict[str, str]:
    """Return what `profiles.yml` and the models read."""
    return {
        "UPTAKE_SOURCE": "uptake",
        "UPTAKE_RAW": str(raw),
        "UPTAKE_HOME": str(home),
        "UPTAKE_WAREHOUSE": str(home / "warehouse.duckdb"),
        "UPTAKE_LEDGER_EXPORT": str(home / "ledger_export"),
        "UPTAKE_AS_OF": as_of.isoformat(),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "DO_NOT_TRACK": "1",
    }


def arguments(command: Sequence[str], home: Path) -> list[str]:
    """Return a whole dbt command: the project, and a target folder of the home's own."""
    places = {
        "project-dir": PROJECT,
        "profiles-dir": PROJECT,
        "target-path": home / "target",
        "log-path": home / "logs",
    }
    return [
        *command,
        *(word for name, path in places.items() for word in (f"--{name}", str(path))),
        *("--target", "refresh", "--log-level", "none", "--log-level-file", "none"),
    ]


def dbt(command: Sequence[str], *, raw: Path, home: Path, as_of: datetime) -> None:
    """Run one dbt command in this process, and let go of the warehouse."""
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager
    from dbt.cli.main import dbtRunner

    os.environ.update(environment(raw=raw, home=home, as_of=as_of))
    outcome = dbtRunner().invoke(arguments(command, home))
    if DuckDBConnectionManager._ENV is not None:
        DuckDBConnectionManager._ENV.close()
    DuckDBConnectionManager.close_all_connections()
    if not outcome.success:
        broken = [f"{one.node.name}: {one.message}" for one in outcome.result or () if one.status in ("error", "fail")]
        raise RuntimeError(f"dbt {command[0]} failed: {outcome.exception or broken}")


def dbt_command(command: Sequence[str], *, raw: Path, home: Path, as_of: datetime) -> None:
    """Run one dbt command in a process of its own."""
    start = [str(Path(sys.executable).with_name("dbt")), *arguments(command, home)]
    subprocess.run(start, env={**os.environ, **environment(raw=raw, home=home, as_of=as_of)}, check=True)
