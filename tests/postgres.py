"""A PostgreSQL server of the tests' own, as its own user: it refuses to run as root."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def _binaries() -> Path | None:
    config = shutil.which("pg_config")
    folder = Path(subprocess.check_output([config, "--bindir"], text=True).strip()) if config else None
    return folder if folder is not None and (folder / "pg_ctl").exists() else None


def can_serve() -> bool:
    """Whether PostgreSQL's programs are on this machine."""
    return _binaries() is not None


def _as_postgres(command: list[str]) -> list[str]:
    if os.getuid() != 0:
        return command
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *command]


@contextmanager
def server() -> Iterator[str]:
    """Serve on a free port; give the address without a database name."""
    binaries = _binaries()
    assert binaries is not None, "no PostgreSQL: pg_config --bindir names no pg_ctl"
    folder = Path(tempfile.mkdtemp(prefix="uptake-pg-"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    if os.getuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    data, control = folder / "data", str(binaries / "pg_ctl")

    def run(*command: str) -> None:
        subprocess.run(_as_postgres(list(command)), check=True, capture_output=True, cwd=folder)

    run(str(binaries / "initdb"), "-D", str(data), "-U", "uptake", "-A", "trust", "-N")
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    run(control, "-D", str(data), "-o", options, "-l", str(folder / "log"), "-w", "start")
    try:
        yield f"postgresql://uptake@127.0.0.1:{port}"
    finally:
        run(control, "-D", str(data), "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)
