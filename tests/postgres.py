"""A PostgreSQL server of the tests' own, as its own user: it refuses to run as root."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest


def _binaries() -> Path | None:
    config = shutil.which("pg_config")
    folder = Path(subprocess.check_output([config, "--bindir"], text=True).strip()) if config else None
    return folder if folder is not None and (folder / "pg_ctl").exists() else None


def can_serve() -> bool:
    """Whether PostgreSQL's programs are on this machine."""
    return _binaries() is not None


def require_server() -> None:
    """Skip the test that asks where PostgreSQL's programs are absent; in CI, fail it."""
    if not can_serve():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no PostgreSQL: pg_config --bindir names no pg_ctl")


def _as_postgres(command: list[str]) -> list[str]:
    if os.getuid() != 0:
        return command
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *command]


class Postgres:
    """A server that a test may stop and start; `url` names it without a database."""

    def __init__(self) -> None:
        binaries = _binaries()
        assert binaries is not None, "no PostgreSQL: pg_config --bindir names no pg_ctl"
        self._control = str(binaries / "pg_ctl")
        self._folder = Path(tempfile.mkdtemp(prefix="uptake-pg-"))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        if os.getuid() == 0:
            shutil.chown(self._folder, "postgres", "postgres")
        self.url = f"postgresql://uptake@127.0.0.1:{self._port}"
        self._run(str(binaries / "initdb"), "-D", self._data, "-U", "uptake", "-A", "trust", "-N")

    @property
    def _data(self) -> str:
        return str(self._folder / "data")

    def start(self) -> None:
        """Start it; it answers when this returns."""
        options = f"-p {self._port} -k {self._folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        self._run(self._control, "-D", self._data, "-o", options, "-l", str(self._folder / "log"), "-w", "start")

    def stop(self) -> None:
        """Stop it as a crash would: no connection is told, nothing is written any more."""
        self._run(self._control, "-D", self._data, "-m", "immediate", "stop")

    def remove(self) -> None:
        """Delete its files."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self, *command: str) -> None:
        subprocess.run(_as_postgres(list(command)), check=True, capture_output=True, cwd=self._folder)


@contextmanager
def server() -> Iterator[str]:
    """Serve on a free port; give the address without a database name."""
    postgres = Postgres()
    postgres.start()
    try:
        yield postgres.url
    finally:
        postgres.stop()
        postgres.remove()


@contextmanager
def empty_database(address: str) -> Iterator[str]:
    """Make a database on a server; give its URL; drop it."""
    name = f"t_{uuid.uuid4().hex}"
    with psycopg.connect(f"{address}/postgres", autocommit=True) as admin:
        admin.execute(f"create database {name}")
    try:
        yield f"{address}/{name}"
    finally:
        with psycopg.connect(f"{address}/postgres", autocommit=True) as admin:
            admin.execute(f"drop database {name} with (force)")
