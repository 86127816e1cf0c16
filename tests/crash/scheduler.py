"""One thread, many processes: whoever runs hands the baton back wherever the product touches ledger, wire or clock.

A seed decides who gets the baton next, how the clock moves and who dies, so that a run can be repeated to the byte.
Like SQLite, the ledger has one writer at a time; whoever wants to write while another does, waits.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any
from unittest import mock

import greenlet

from uptake import failpoints
from uptake.adapters.ledger.store import Store
from uptake.errors import LedgerError


class Killed(BaseException):
    """As kill -9: nothing but what holds a transaction notices."""


class Process:
    """One thing that happens beside others."""

    def __init__(self, name: str, work: Callable[[Process], None]) -> None:
        self.name = name
        self.is_killed = False
        self.sleeps_until = 0  # the step from which it may run again
        self.wants_to_write = False
        self.commit = 0  # the number of its last transaction
        self._work = work
        self.baton = greenlet.greenlet(self._run)

    @property
    def is_over(self) -> bool:
        return bool(self.baton.dead)

    def _run(self) -> None:
        with suppress(Killed):
            self._work(self)


class Scheduler:
    """Decides who goes on. `pause` is called by whoever runs; outside of `run` it does nothing."""

    def __init__(self, chance: random.Random, *, start: datetime) -> None:
        self.chance = chance
        self.moment = start
        self.trace: list[str] = []
        self.count_steps = 0
        self.count_commits = 0
        self.locked_ledger = 0.0  # the share of transactions that find the ledger locked by somebody else
        self._processes: list[Process] = []
        self._writer: Process | None = None
        self._current: Process | None = None
        self._hub = greenlet.getcurrent()

    # --- for the world -----------------------------------------------------------------------------------

    def start(self, name: str, work: Callable[[Process], None]) -> Process:
        """Let something begin beside the others."""
        process = Process(name, work)
        self._processes.append(process)
        return process

    def kill(self, process: Process) -> None:
        """Let it die where it stands."""
        process.is_killed = True
        process.sleeps_until = 0
        self._go_on(process)

    def run(self, steps: int, between: Callable[[list[Process]], None]) -> None:
        """Go so many steps; `between` two of them the world may kill, stop and move the clock. Then all that lives
        is killed: what a process leaves half done is part of what is tested.
        """
        end = self.count_steps + steps
        while self.count_steps < end and self._alive():
            self.count_steps += 1
            between(self._alive())
            ready = [one for one in self._alive() if self._may_run(one)]
            if ready:
                self._go_on(self.chance.choice(ready))
        for process in self._alive():
            self.kill(process)
        self._processes.clear()

    @property
    def current(self) -> Process | None:
        return self._current

    # --- for what runs -----------------------------------------------------------------------------------

    def pause(self, point: str) -> None:
        """Hand the baton back here."""
        process = self._current
        if process is None:
            return
        self.trace.append(f"{process.name} {point}")
        self._hub.switch()
        if process.is_killed:
            self.trace.append(f"{process.name} dies")
            raise Killed

    def now(self) -> datetime:
        """The time, as `uptake.ports.Clock`."""
        self.pause("clock")
        return self.moment

    def advance(self, by: timedelta) -> None:
        self.moment += by
        self.trace.append(f"clock {self.moment.isoformat()}")

    @contextmanager
    def takes_over(self) -> Iterator[None]:
        """Let every failpoint, every transaction and so every step of the product come here."""
        with ExitStack() as stack:
            stack.enter_context(mock.patch.object(failpoints, "at", self.pause))
            stack.enter_context(mock.patch.object(failpoints, "_armed", ("none", 0, "kill")))
            stack.enter_context(mock.patch.object(Store, "write", _writing(self, Store.write)))
            stack.enter_context(mock.patch.object(Store, "read", _reading(self, Store.read)))
            yield

    def _alive(self) -> list[Process]:
        return [process for process in self._processes if not process.is_over]

    def _may_run(self, process: Process) -> bool:
        waits = process.wants_to_write and self._writer is not None
        return not waits and process.sleeps_until <= self.count_steps

    def _go_on(self, process: Process) -> None:
        self._current = process
        try:
            process.baton.switch()
        finally:
            self._current = None

    def take_pen(self) -> Process | None:
        """Become the ledger's one writer, in one's turn."""
        process = self._current
        self.pause("ledger: write")
        if process is None:
            return None
        if self.locked_ledger and self.chance.random() < self.locked_ledger:
            raise LedgerError("the ledger is locked by another process; try again, or look for a run that hangs")
        while self._writer is not None:
            process.wants_to_write = True
            self.pause("ledger: waits")
        process.wants_to_write = False
        self._writer = process
        return process

    def drop_pen(self, process: Process | None) -> None:
        if process is not None:
            self._writer = None


def _writing(scheduler: Scheduler, write: Callable[..., Any]) -> Callable[..., Any]:
    @contextmanager
    def writing(store: Store) -> Iterator[Any]:
        process = scheduler.take_pen()
        try:
            with write(store) as connection:
                yield connection
            scheduler.count_commits += 1
            if process is not None:
                process.commit = scheduler.count_commits
        finally:
            scheduler.drop_pen(process)

    return writing


def _reading(scheduler: Scheduler, read: Callable[..., Any]) -> Callable[..., Any]:
    @contextmanager
    def reading(store: Store) -> Iterator[Any]:
        scheduler.pause("ledger: read")
        with read(store) as connection:
            yield connection

    return reading
