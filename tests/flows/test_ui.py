"""`make ui`: what success ops and the operator see of it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

from tests.flows.prefect_kills import TICK, begin, strike
from tests.flows.ui_process import ENDED, Ui, free_port, running_ui
from uptake.sandbox.ports import sandbox_ports

pytestmark = pytest.mark.flows


def start_in_vain(home: Path, port: int) -> tuple[int, str]:
    """Start the UI where it cannot start; return its exit code and all it said."""
    environment = {**os.environ, "UPTAKE_HOME": str(home), "UPTAKE_UI_PORT": str(port)}
    done = subprocess.run(
        [sys.executable, "-m", "uptake.ui"], env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    return done.returncode, (done.stdout + done.stderr).strip()


def test_every_deployment_is_there_with_its_form(ui: Ui) -> None:
    found = {deployment["name"]: deployment for deployment in ui.post("/deployments/filter", {})}
    assert {"refresh", "tick", "measure", "feature-breadth", "scheduled-reports"} <= set(found)
    form = found["feature-breadth"]["parameter_openapi_schema"]
    assert form["properties"]["mode"]["enum"] == ["plan only", "approve and run"]
    assert form["properties"]["mode"]["default"] == "plan only"
    assert all(field["description"] for field in form["properties"].values())
    assert form["required"] == ["playbook"]
    assert found["feature-breadth"]["parameters"] == {"playbook": "feature-breadth"}
    assert found["feature-breadth"]["enforce_parameter_schema"]
    moment = found["refresh"]["parameter_openapi_schema"]["properties"]["as_of"]
    assert {"type": "string", "format": "date-time"} in moment["anyOf"]
    assert not any(schedule["active"] for one in found.values() for schedule in one["schedules"])


def test_a_playbook_run_from_its_deployment_ends_completed_with_its_plan(ui: Ui) -> None:
    run = ui.run("run-playbook/feature-breadth", playbook="feature-breadth")
    assert run["state"]["name"] == "Completed", run["state"]
    assert run["name"] == "feature-breadth: plan only"
    assert ui.artifacts(run["id"])["plan-feature-breadth"].startswith("# Plan of feature-breadth\n")


def test_a_refused_run_ends_failed_with_one_message_and_no_traceback(ui: Ui) -> None:
    run = ui.run("run-playbook/feature-breadth", playbook="feature-breadth", mode="approve and run")
    assert run["state"]["type"] == "FAILED"
    assert run["state"]["message"].startswith("approved_by is empty")
    assert not any("Traceback" in message for message in ui.logs(run["id"]))


def test_a_killed_tick_is_shown_as_ended_and_the_next_one_works(ui: Ui) -> None:
    """T22, once; `make soak` strikes the worker and the server as well, with mails on their way."""
    run = begin(ui)
    assert strike(ui, run, "its own process"), "no process of that run was found"
    deadline = time.monotonic() + 120
    while (state := ui.get(f"/flow_runs/{run['id']}")["state"])["type"] not in ENDED:
        assert time.monotonic() < deadline, f"still {state['name']}"
        time.sleep(0.2)
    assert state["type"] == "CRASHED"
    assert ui.run(TICK)["state"]["type"] == "COMPLETED"


def test_the_printed_addresses_answer(ui: Ui, home: Path) -> None:
    printed = [word for line in ui.lines for word in line.split() if word.startswith("http://")]
    assert f"http://127.0.0.1:{sandbox_ports(home).internal}/" in printed
    for address in printed:
        # As a browser asks: to anything else Prefect answers an address within its single page with a bare 404.
        assert "<title>" in httpx.get(address, headers={"Accept": "text/html"}).text


def test_a_taken_port_is_told_in_one_line(ui: Ui, home: Path) -> None:
    taken = int(ui.api.split(":")[2].split("/")[0])
    code, said = start_in_vain(home, taken)
    assert code == 2
    assert said.startswith(f"uptake: port {taken} cannot be used")
    assert len(said.splitlines()) == 1
    code, said = start_in_vain(home, free_port())  # another port, but this home's own ones are taken
    assert code == 2
    assert f"port {sandbox_ports(home).public} cannot be used" in said


def test_without_a_demo_it_says_what_to_do(tmp_path: Path) -> None:
    code, said = start_in_vain(tmp_path / "nothing", free_port())
    assert code == 1
    assert "run `make demo` first" in said
    assert not (tmp_path / "nothing").exists()


def test_a_second_start_finds_what_the_first_left_and_nothing_outlives_it(ui: Ui, home: Path) -> None:
    """Stops the session's UI for good: nothing may come after this test."""
    deployments = {one["name"]: one["id"] for one in ui.post("/deployments/filter", {})}
    ui.process.terminate()
    assert ui.process.wait(60) == 0
    port = int(ui.api.split(":")[2].split("/")[0])
    with running_ui(home, port) as again:
        assert {one["name"]: one["id"] for one in again.post("/deployments/filter", {})} == deployments
        family = psutil.Process(again.process.pid).children(recursive=True)
        assert len(family) >= 3
    _gone, alive = psutil.wait_procs(family, timeout=10)
    assert not alive
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # closed connections may linger, no listener may
        probe.bind(("127.0.0.1", port))
