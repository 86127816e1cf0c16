"""Prism: a server that somebody else wrote, which enforces SendGrid's own OpenAPI document on every request."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.conftest import ROOT

#: What `make .prism/.done` installs: Node.js from a wheel, Prism from the npm registry, both pinned by hashes.
FOLDER = ROOT / ".prism"

_STARTS_WITHIN = 60.0
_WHY = re.compile(r"\[VALIDATOR\].*?error\s+(.*)")


class Prism:
    """Prism, serving one document."""

    def __init__(self, url: str, log: Path) -> None:
        self._client = httpx.Client(
            base_url=url, headers={"Authorization": "Bearer any", "Content-Type": "application/json"}, trust_env=False,
            timeout=30,
        )  # fmt: skip
        self._log, self._read = log, 0

    def refusal(self, body: bytes) -> str | None:
        """Post one mail; return why it is refused, None when it is accepted."""
        answer = self._client.post("/v3/mail/send", content=body)
        said = self._log.read_text()[self._read :]
        self._read += len(said)
        if answer.status_code == 202:
            return None
        return f"{answer.status_code}: {'; '.join(_WHY.findall(said)) or 'no reason in its log'}"

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


@contextmanager
def prism(document: Path, folder: Path) -> Iterator[Prism]:
    """Serve an OpenAPI document on a free port of the loopback; the log goes into `folder`."""
    port, log = _free_port(), folder / "prism.log"
    command = [
        str(FOLDER / "bin" / "node"), str(FOLDER / "node_modules" / ".bin" / "prism"),
        "mock", "--host", "127.0.0.1", "--port", str(port), str(document),
    ]  # fmt: skip
    plain = {"PATH": os.environ["PATH"], "HOME": str(folder), "NO_COLOR": "1"}
    with (
        log.open("wb") as out,
        # The wheel's `node` is a script that starts the real one: both are in one group, and end together.
        subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=plain, start_new_session=True) as process,
    ):
        try:
            _wait(process, log)
            server = Prism(f"http://127.0.0.1:{port}", log)
            yield server
            server.close()
        finally:
            os.killpg(process.pid, signal.SIGTERM)


def _wait(process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _STARTS_WITHIN
    while "Prism is listening" not in log.read_text():
        if process.poll() is not None or time.monotonic() > until:
            raise AssertionError(f"Prism did not start: {log.read_text()[-2000:]}")
        time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
