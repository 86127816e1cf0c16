"""`make ui`: a Prefect server with every deployment, a worker, and the sandbox's web, on the demo's data.

Everything listens on loopback. Ctrl-C stops it all.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
from rich.console import Console

from uptake.settings import Settings

_HOST = "127.0.0.1"
_PORT = int(os.environ.get("UPTAKE_UI_PORT", "4200"))
_START_SECONDS = 180


def main() -> int:
    """Start everything, print the addresses, wait. Returns the exit code."""
    console = Console()
    home = Path(os.environ.get("UPTAKE_HOME", "var/demo"))
    if not (home / "ledger.sqlite3").exists():
        console.print(f"{home} holds no demo yet; run [bold]make demo[/] first, so that there is something to look at.")
        return 1
    prefect_home = home / "prefect"
    prefect_home.mkdir(parents=True, exist_ok=True)
    log = (prefect_home / "ui.log").open("a")
    environment = {
        **os.environ,
        "UPTAKE_HOME": str(home.resolve()),
        "UPTAKE_SANDBOX": "1",
        "UPTAKE_CHECKOUT": str(Settings().dbt_project_dir.parent),
        "PREFECT_HOME": str(prefect_home.resolve()),
        "PREFECT_API_URL": f"http://{_HOST}:{_PORT}/api",
        # Its page calls port 4200 whatever port it is served on, unless it is told.
        "PREFECT_SERVER_UI_API_URL": f"http://{_HOST}:{_PORT}/api",
        "PREFECT_UI_API_URL": f"http://{_HOST}:{_PORT}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_LOGGING_LEVEL": "INFO",
    }
    prefect = [sys.executable, "-m", "prefect"]
    running: list[subprocess.Popen[bytes]] = []

    def start(*command: str) -> None:
        running.append(
            subprocess.Popen([*command], env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        )

    def run(*command: str) -> None:
        done = subprocess.run([*command], env=environment, capture_output=True, text=True, check=False)
        log.write(done.stdout + done.stderr)
        log.flush()
        if done.returncode:
            raise RuntimeError(f"`{' '.join(command[2:])}` failed: {(done.stderr or done.stdout).strip()[-600:]}")

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with console.status("Starting the Prefect server ..."):
            start(*prefect, "server", "start", "--host", _HOST, "--port", str(_PORT))
            _wait_for(f"http://{_HOST}:{_PORT}/api/health", running[0])
        with console.status("Registering the deployments ..."):
            run(*prefect, "work-pool", "create", "uptake", "--type", "process", "--overwrite")
            run(*prefect, "--no-prompt", "deploy", "--all")
        with console.status("Starting the worker and the sandbox's pages ..."):
            start(*prefect, "worker", "start", "--pool", "uptake", "--name", "local")
            start(sys.executable, "-m", "uptake", "serve")
        console.print(f"Prefect            [link]http://{_HOST}:{_PORT}/deployments[/link]")
        console.print("Reports, inbox     [link]http://127.0.0.1:8026/[/link]")
        console.print(f"[dim]Log: {prefect_home / 'ui.log'}. Ctrl-C stops everything.[/dim]")
        while all(process.poll() is None for process in running):
            time.sleep(0.5)
        console.print(f"[red]One of the processes ended; see {prefect_home / 'ui.log'}[/red]")
        return 1
    except KeyboardInterrupt:
        return 0
    except (RuntimeError, TimeoutError) as error:
        console.print(f"[red]{error}[/red]")
        return 1
    finally:
        for process in reversed(running):
            _stop(process)
        log.close()


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the Prefect server ended with exit code {process.returncode}; is port {_PORT} taken?")
        try:
            if httpx.get(url, timeout=2, trust_env=False).is_success:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.5)
    raise TimeoutError(f"the Prefect server did not answer at {url} within {_START_SECONDS} s")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a process and all it started; Prefect's server and worker have children of their own."""
    try:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(10)
    except ProcessLookupError:
        return
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
