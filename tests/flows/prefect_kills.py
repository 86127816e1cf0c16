"""T22: a tick started in Prefect, while its own process, the worker or the server is killed, or it is deployed anew."""

from __future__ import annotations

import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console

from tests.end_to_end.test_demo_is_killed import accepted
from tests.flows.ui_process import ENDED, Ui, free_port, running_ui
from uptake.adapters.clock import SandboxClock
from uptake.demo import demo
from uptake.operations.send import LEASE
from uptake.ui import _environment
from uptake.wiring import SANDBOX_START

ROOT = Path(__file__).resolve().parent.parent.parent
TICK = "tick/tick"
ZOMBIE_SECONDS = 600.0  # a run whose process is gone is shown as ended within that
KINDS = ("its own process", "the worker", "the server", "deployed anew")


def prepare(home: Path) -> None:
    """Live one virtual day without a tick: two playbooks are approved, and nobody was mailed."""
    sizes = {"accounts": 40, "contacts": 240, "days": 1, "history_days": 40}
    demo(home=home, fresh=False, console=Console(quiet=True), tick_hours=(), **sizes)
    clock = _clock(home)
    clock.move(clock.now() + timedelta(hours=8))


@dataclass(frozen=True, kw_only=True)
class Found:
    """What one world came to."""

    kills: int
    mails: int
    duplicates: int
    losses: tuple[str, ...]


def world(prepared: Path, home: Path, seed: int) -> Found:
    """Begin a tick, strike once, start again what ended, and let the next tick finish the work."""
    chance, kind = random.Random(seed), KINDS[seed % len(KINDS)]
    shutil.copytree(prepared, home, symlinks=True)
    port, losses, kills = free_port(), [], 0
    with running_ui(home, port) as ui:
        run = begin(ui)
        wait_for_mail(home, chance.choice((0, 1, 10)), ui, run)
        if kind == "deployed anew":
            deploy(home, ui)
        else:
            kills = strike(ui, run, kind)
        if kind in ("its own process", "deployed anew"):
            losses += _end_of(ui, run)
            losses += _last_tick(ui, home)
    if kind in ("the worker", "the server"):  # `make ui` has ended with them, and said so
        with running_ui(home, port) as again:
            losses += _end_of(again, run)
            losses += _last_tick(again, home)
    log = Counter(line["send_id"] for line in accepted(home))
    with sqlite3.connect(f"file:{home / 'ledger.sqlite3'}?mode=ro", uri=True) as ledger:
        sends = dict(ledger.execute("select send_id, status from sends").fetchall())
    losses += [f"{one} was accepted and is not in the ledger" for one in set(log) - set(sends)]
    for send_id, status in sends.items():
        if status in ("planned", "claimed"):
            losses.append(f"{send_id} is left {status}")
        if status in ("accepted", "delivered") and not log[send_id]:
            losses.append(f"{send_id} is {status} and was never accepted")
    if not log:
        losses.append("nobody was mailed")
    return Found(kills=kills, mails=len(log), duplicates=sum(log.values()) - len(log), losses=tuple(losses))


def begin(ui: Ui) -> dict[str, Any]:
    """Start a tick, as its form does, and wait until it runs."""
    found = ui.get(f"/deployments/name/{TICK}")
    run: dict[str, Any] = ui.post(f"/deployments/{found['id']}/create_flow_run", {"parameters": {}})
    deadline = time.monotonic() + 240
    while run["state"]["type"] not in ("RUNNING", *ENDED):
        assert time.monotonic() < deadline, f"the tick is still {run['state']['name']}"
        time.sleep(0.1)
        run = ui.get(f"/flow_runs/{run['id']}")
    return run


def wait_for_mail(home: Path, count: int, ui: Ui, run: dict[str, Any]) -> None:
    """Wait until so many mails were accepted in this home, or the run has ended."""
    while len(accepted(home)) < count and ui.get(f"/flow_runs/{run['id']}")["state"]["type"] not in ENDED:
        time.sleep(0.02)


def strike(ui: Ui, run: dict[str, Any], kind: str) -> int:
    """Kill what the kind says with -9; return how many processes died of it."""
    wanted = {"the worker": ("prefect", "worker"), "the server": ("prefect", "server")}
    struck = 0
    for process in psutil.Process(ui.process.pid).children(recursive=True):
        try:
            words = " ".join(process.cmdline())
            is_run = run["id"] in (words + " ".join(process.environ().values()))
            if is_run if kind == "its own process" else all(word in words for word in wanted[kind]):
                process.kill()
                struck += 1
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return struck


def deploy(home: Path, ui: Ui) -> None:
    """Register every deployment again, as after a change of prefect.yaml."""
    subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"],
        cwd=ROOT, env=dict(_environment(home, ui.api, ROOT)), check=True, capture_output=True, timeout=240,
    )  # fmt: skip


def _end_of(ui: Ui, run: dict[str, Any]) -> list[str]:
    """Wait until Prefect shows the struck run as ended."""
    deadline = time.monotonic() + ZOMBIE_SECONDS
    while time.monotonic() < deadline:
        if ui.get(f"/flow_runs/{run['id']}")["state"]["type"] in ENDED:
            return []
        time.sleep(0.5)
    return ["the run of a dead process is still shown as running"]


def _last_tick(ui: Ui, home: Path) -> list[str]:
    """Let a tick finish the work: what a dead one had claimed is free again once its lease is over."""
    clock = _clock(home)
    clock.move(clock.now() + LEASE + timedelta(seconds=1))
    last = ui.run(TICK)
    return [] if last["state"]["type"] == "COMPLETED" else [f"the next tick ended {last['state']['name']}"]


def _clock(home: Path) -> SandboxClock:
    return SandboxClock(home / "sandbox" / "clock", start=SANDBOX_START)
