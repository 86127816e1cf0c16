"""`make ui` as a process of its own, and what a browser would ask of it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uptake.ui import ask_prefect

START_SECONDS = 240
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@dataclass
class Ui:
    """A running `make ui`."""

    process: subprocess.Popen[str]
    lines: list[str]
    api: str
    start_seconds: float

    def get(self, path: str) -> Any:
        return ask_prefect("GET", f"{self.api}{path}")

    def post(self, path: str, body: Any) -> Any:
        return ask_prefect("POST", f"{self.api}{path}", body)

    def run(self, deployment: str, **parameters: Any) -> dict[str, Any]:
        """Run a deployment, as its form does, and return how it ended."""
        found = self.get(f"/deployments/name/{deployment}")
        run = self.post(f"/deployments/{found['id']}/create_flow_run", {"parameters": parameters})
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            run = self.get(f"/flow_runs/{run['id']}")
            if run["state"]["type"] in ENDED:
                return run
            time.sleep(0.5)
        raise TimeoutError(f"{deployment} is still {run['state']['name']}")

    def artifacts(self, run_id: str) -> dict[str, str]:
        """Return key -> Markdown of one run."""
        wanted = {"artifacts": {"flow_run_id": {"any_": [str(run_id)]}, "type": {"any_": ["markdown"]}}}
        return {found["key"]: found["data"] for found in self.post("/artifacts/filter", wanted)}

    def logs(self, run_id: str) -> list[str]:
        found = self.post("/logs/filter", {"logs": {"flow_run_id": {"any_": [str(run_id)]}}})
        return [record["message"] for record in found]


@contextmanager
def running_ui(home: Path, port: int) -> Iterator[Ui]:
    """Start `python -m uptake.ui`, wait for its addresses, and stop it as Ctrl-C does."""
    environment = {**os.environ, "UPTAKE_HOME": str(home), "UPTAKE_UI_PORT": str(port)}
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "uptake.ui"], env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line.strip())
            if line.startswith("Ctrl-C"):
                break
        else:
            raise RuntimeError("\n".join(lines))
        yield Ui(process, lines, f"http://127.0.0.1:{port}/api", time.monotonic() - began)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
