"""`make ui`: a Prefect server with every deployment, a worker, and the sandbox's pages, on the demo's data.

Everything listens on loopback. Ctrl-C, or SIGTERM, stops it all. Started again, it finds what it left.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from uptake.errors import Refused, SettingsError, UptakeError
from uptake.sandbox.ports import sandbox_ports
from uptake.settings import Settings

_HOST = "127.0.0.1"
_POOL = "uptake"
_START_SECONDS = 240.0  # a first start creates Prefect's database, on slow cores under load
_STOP_SECONDS = 15.0
_BUSY_SECONDS = 60.0
_LEFT_OVER = ("RUNNING", "PENDING", "CANCELLING")


def main() -> int:
    """Start everything, print the addresses, wait. Returns the exit code."""
    console = Console(highlight=False, soft_wrap=True)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        _serve(console)
    except UptakeError as error:
        console.print(f"uptake: {error}", style="red", markup=False)
        return error.exit_code
    except KeyboardInterrupt:
        console.print("Stopped.")
    return 0


def _serve(console: Console) -> None:
    home = Path(os.environ.get("UPTAKE_HOME", "var/demo")).resolve()
    if not (home / "snapshots" / "current").exists():
        raise Refused(f"{home} holds no demo yet; run `make demo` first, so that there is something to look at")
    port = _port_setting()
    pages = sandbox_ports(home)
    _check_free(port, "set UPTAKE_UI_PORT to another one, or stop what uses it")
    for taken in (pages.public, pages.internal, pages.fakegrid):
        _check_free(taken, f"the mails of {home} link to it; is another `make ui` or `make demo` running there?")
    api = f"http://{_HOST}:{port}/api"
    checkout = Settings().dbt_project_dir.parent
    prefect = [sys.executable, "-m", "prefect"]
    with _Processes(home / "prefect", _environment(home, api, checkout), checkout) as processes:
        with console.status("Starting the Prefect server ..."):
            processes.start("the Prefect server", *prefect, "server", "start", "--host", _HOST, "--port", str(port))
            processes.start("the sandbox's web", sys.executable, "-m", "uptake", "serve")
            processes.wait_for(f"{api}/health")
            _close_left_over(api)
        with console.status("Registering the deployments ..."):
            worker = ("worker", "start", "--pool", _POOL, "--type", "process", "--name", "local")
            processes.start("the Prefect worker", *prefect, *worker)  # it makes its work pool, if there is none
            processes.wait_for(f"{api}/work_pools/{_POOL}")
            processes.run("the deployments could not be registered", *prefect, "--no-prompt", "deploy", "--all")
            processes.wait_for(f"http://{_HOST}:{pages.internal}/")
        # Its list shows ten, and `tick` would be on the second page.
        console.print(f"Prefect          http://{_HOST}:{port}/deployments?limit=100")
        console.print(f"Reports, inbox   http://{_HOST}:{pages.internal}/")
        console.print(f"Log              {processes.log}")
        console.print("Ctrl-C stops everything.")
        processes.watch()


def _port_setting() -> int:
    text = os.environ.get("UPTAKE_UI_PORT", "4200")
    if not text.isdigit() or not 0 < int(text) < 65_536:
        raise SettingsError(f"UPTAKE_UI_PORT is {text!r}; expected a port, 1 to 65535")
    return int(text)


def _check_free(port: int, advice: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError as error:
            raise SettingsError(f"port {port} cannot be used ({error.strerror}): {advice}") from error


def _environment(home: Path, api: str, checkout: Path) -> Mapping[str, str]:
    # Somebody's own Prefect (its address, key, profile) must neither be used nor be changed.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return {
        **inherited,
        "UPTAKE_HOME": str(home),
        "UPTAKE_SANDBOX": "1",
        "UPTAKE_SOURCE": "uptake",
        "UPTAKE_RAW": str(home / "raw"),
        "UPTAKE_CHECKOUT": str(checkout),
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_API_URL": api,
        "PREFECT_SERVER_UI_API_URL": api,  # its page calls port 4200, whatever port it is served on, unless it is told
        "PREFECT_SERVER_UI_V2_ENABLED": "false",  # V2's page reports to an analytics service, and cannot be told not to
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_EXTRA_LOGGERS": "uptake",  # what the engine has to say stands on the page of its run
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "DO_NOT_TRACK": "1",
    }


def _close_left_over(api: str) -> None:
    """End the runs of a worker that was killed: nobody works on them, and a page would show them running for ever."""
    message = "The worker was killed. What this run had done is in the ledger; run it again."
    state = {"type": "CRASHED", "name": "Crashed", "message": message}
    wanted = {"flow_runs": {"state": {"type": {"any_": _LEFT_OVER}}}}
    for run in ask_prefect("POST", f"{api}/flow_runs/filter", wanted):
        ask_prefect("POST", f"{api}/flow_runs/{run['id']}/set_state", {"state": state, "force": True})


def ask_prefect(method: str, url: str, body: Any = None) -> Any:
    """Return what Prefect's server answers, from JSON. Raises httpx.HTTPError when it refuses, or stays busy for long.

    A 503 says that its SQLite file was locked and nothing was done; its own clients ask again, so this one does.
    """
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        answer = httpx.request(method, url, json=body, timeout=60, trust_env=False)
        if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE or time.monotonic() > deadline:
            return answer.raise_for_status().json()
        time.sleep(0.5)


@dataclass
class _Processes:
    """Processes that are started one by one, watched together, and end together. Use it as a context manager."""

    folder: Path
    environment: Mapping[str, str]
    checkout: Path
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def log(self) -> Path:
        return self.folder / "ui.log"

    def __enter__(self) -> _Processes:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._log = self.log.open("ab")
        return self

    def __exit__(self, *_: object) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not leave half of them behind
        # The server ends last: what the others were doing is still reported to it.
        for process in reversed(self._running.values()):
            _stop(process)
        self._log.close()

    def start(self, name: str, *command: str) -> None:
        """Start a process that runs until everything is stopped, in a group of its own."""
        self._running[name] = subprocess.Popen(
            command,
            cwd=self.checkout,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def run(self, failure: str, *command: str) -> None:
        """Run a process to its end. Raises Refused with `failure` when it does not succeed."""
        self.start(failure, *command)
        if self._running[failure].wait():
            raise Refused(f"{failure}; why stands at the end of {self.log}")
        del self._running[failure]

    def wait_for(self, url: str) -> None:
        """Wait until an address answers. Raises Refused when a process ends, or nothing answers for long."""
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            self._check()
            try:
                if httpx.get(url, timeout=5, trust_env=False).is_success:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.25)
        raise Refused(f"{url} did not answer within {_START_SECONDS:.0f} s; why stands at the end of {self.log}")

    def watch(self) -> None:
        """Wait for ever. Raises Refused when a process ends."""
        while True:
            self._check()
            time.sleep(0.5)

    def _check(self) -> None:
        for name, process in self._running.items():
            if process.poll() is not None:
                raise Refused(f"{name} ended with exit code {process.returncode}; why stands at the end of {self.log}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a process and whatever it started, first politely."""
    for number, seconds in ((signal.SIGTERM, _STOP_SECONDS), (signal.SIGKILL, None)):
        try:
            os.killpg(process.pid, number)
            process.wait(seconds)
        except ProcessLookupError:
            break
        except subprocess.TimeoutExpired:
            continue
    process.wait()


if __name__ == "__main__":
    sys.exit(main())
