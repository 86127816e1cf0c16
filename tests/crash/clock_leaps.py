"""T15: the clock leaps, by seconds and by days, over changes of the hour and odd dates; people move between zones.

Each step of a world is what a tick of the product does: look for a restored ledger, decide, send. Between deciding and
sending the clock may leap, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa

from tests.crash.outbox import RELEASE, Outbox, address_of, judge, names, serving
from tests.crash.workers import EVERYBODY, Current, settle
from uptake.adapters.journeys_duckdb import DuckJourneys
from uptake.adapters.ledger import SqlLedger
from uptake.domain.enrollments import LATEST
from uptake.domain.playbooks import Release
from uptake.operations.reconcile import guard
from uptake.operations.tick import tick
from uptake.sandbox.fakegrid.accept_log import Tail, accepted_path, moment
from uptake.testing import FixedClock

OPENS, CLOSES = time(8), time(18)
PATIENCE = timedelta(seconds=60)  # by so much a mail may leave early, or beside the window it was decided in
STEPS = 10
_HOUR, _DAY, _SECOND = timedelta(hours=1), timedelta(days=1), timedelta(seconds=1)
#: Where a world begins: the day before a clock is put forward or back, a leap day, the end of 32 bits.
STARTS = tuple(
    datetime.fromisoformat(f"{day}T03:00+00:00")
    for day in (
        "2026-03-08", "2026-03-29", "2026-10-25", "2026-11-01", "2026-04-05", "2028-02-28", "2038-01-18", "2026-03-03",
    )
)  # fmt: skip
ZONES = (
    "Europe/Berlin", "America/New_York", "Asia/Tokyo", "Australia/Lord_Howe", "Asia/Kolkata", "Pacific/Kiritimati",
    "Pacific/Honolulu", "UTC",
)  # fmt: skip
LEAPS = (-_DAY, _DAY, -5 * _SECOND, 5 * _SECOND)
_PLAYBOOK = EVERYBODY.playbook.model_dump() | {
    "stages": {"why": {"email": "why.md"}, "how": {"email": "how.md", "after": "1d"}},
    "holdout": "0%",
}
TWO_STAGES = Release.model_validate(
    EVERYBODY.model_dump()
    | {
        "playbook": _PLAYBOOK,
        "workspace": RELEASE.workspace.model_dump()
        | {
            "window": {"days": ["mon", "tue", "wed", "thu", "fri", "sat"], "start": OPENS, "end": CLOSES},
            "caps": {"person": {"mails": 9, "per": "7d"}, "account": {"mails": 9, "per": "7d"}},
        },
        "texts": {key: {"subject": key, "body": "Hi {{ contact.given_name }}"} for key in ("why", "how")},
    }
)


@dataclass(frozen=True, kw_only=True)
class Leapt:
    """What one world came to."""

    leaps: int
    accepted: int
    duplicates: int
    losses: tuple[str, ...]


def leap(home: Path, *, seed: int) -> Leapt:
    """Live through one world."""
    world = _World(home, seed)
    try:
        return world.live()
    finally:
        world.close()


class _World:
    def __init__(self, home: Path, seed: int) -> None:
        self.home, self.random = home, Random(seed)
        self.clock = FixedClock(STARTS[seed % len(STARTS)])
        self._late = (self.clock.now() + LATEST).replace(tzinfo=None)  # nothing is due before the start
        self.contacts = names(len(ZONES))
        self.zones = {name: ZONES[number % len(ZONES)] for number, name in enumerate(self.contacts)}
        self.journeys, self.log = DuckJourneys(), Tail(accepted_path(home))
        self.losses: list[str] = []
        self.count_leaps = 0
        self._serving = serving(home, self.clock)
        self.outbox = Outbox(f"sqlite:///{home / 'ledger.sqlite3'}", home, self._serving.__enter__().url, self.clock)
        settle(self.outbox.ledger, home, self.contacts, release=TWO_STAGES, now=self.clock.now())

    def close(self) -> None:
        self.outbox.close()
        self._serving.__exit__(None, None, None)

    def live(self) -> Leapt:
        for _ in range(STEPS):
            self._move_people()
            self._step(leaps=True)
        for _ in range(8 * STEPS):  # and the clock goes as it should again
            if not self._unfinished():
                break
            self._step(leaps=False)
        self.losses += [f"{contact} never got {stage}" for contact, stage in sorted(self._unfinished())]
        verdict = judge(self.home, self.outbox.statuses())
        return Leapt(
            leaps=self.count_leaps, accepted=verdict.accepted, duplicates=verdict.duplicates,
            losses=(*verdict.losses, *self.losses),
        )  # fmt: skip

    def _unfinished(self) -> set[tuple[str, str]]:
        """Return contacts and stages without a mail, but for those that the leaps have made seven days late."""
        with self.outbox.ledger._store.read() as connection:
            sent = connection.exec_driver_sql("select contact_id, stage_key from sends where status = 'accepted'")
            done = {(contact, stage) for contact, stage in sent}
            passed = connection.exec_driver_sql(
                "select contact_id, stage_key, decided_at from decisions "
                "where superseded_at is null and verdict = 'pass_over' and reason = 'too_late'"
            )
            done |= {(contact, stage) for contact, stage, at in passed if datetime.fromisoformat(at) > self._late}
        return {(contact, stage) for contact in self.contacts for stage in TWO_STAGES.playbook.stages} - done

    def _step(self, *, leaps: bool) -> None:
        """Do what one tick does, some hours after the last one."""
        self.clock.moment += self.random.choice((1, 3, 5)) * _HOUR
        if leaps:
            self._leap(0.5)
        ledger, now = self.outbox.ledger, self.clock.now()
        guard(ledger, self.outbox.witness, now=now, interval=3 * _HOUR)
        if ledger.releases.controls().forgotten is not None or ledger.read("unresolved_sends"):
            self.outbox.reconcile()
        snapshots: Any = Current(self.home, now)
        tick(self.journeys, snapshots, ledger, now=now, git_sha="abc", owner="machine:x")
        if leaps:
            self._leap(0.5)
        requests = self.outbox.send(batch_size=4).requests
        if requests > len(self.contacts):
            self.losses.append(f"{requests} requests in one run")
        self._check(self.log.read_new())

    def _leap(self, likely: float) -> None:
        if self.random.random() < likely:
            self.clock.moment += self.random.choice(LEAPS)
            self.count_leaps += 1

    def _move_people(self) -> None:
        """Let somebody live elsewhere from now on."""
        if self.random.random() < 0.3:
            self.zones[self.random.choice(self.contacts)] = self.random.choice(ZONES)
        load_zones(self.outbox.ledger, self.zones, now=self.clock.now())

    def _check(self, accepted: list[dict[str, Any]]) -> None:
        """Everybody's own clock must show a time within the window, and every mail be due."""
        for line in accepted:
            at, name = moment(line), line["to"].split("@")[0]
            due = self._due(line["send_id"])
            if at < due - PATIENCE:
                self.losses.append(f"{name} got a mail at {at} that was due at {due}")
            if not any(self._is_open(at - late, name) for late in (timedelta(0), PATIENCE, -PATIENCE)):
                local = at.astimezone(ZoneInfo(self.zones[name]))
                self.losses.append(f"{name} got a mail on {local:%a %Y-%m-%d %H:%M:%S} in {self.zones[name]}")

    def _is_open(self, at: datetime, name: str) -> bool:
        local = at.astimezone(ZoneInfo(self.zones[name]))
        return local.weekday() < 6 and OPENS <= local.time() < CLOSES

    def _due(self, send_id: str) -> datetime:
        with self.outbox.ledger._store.read() as connection:
            found = connection.exec_driver_sql("select due_at from sends where send_id = ?", (send_id,)).scalar_one()
        return datetime.fromisoformat(found).replace(tzinfo=UTC)


def load_zones(ledger: SqlLedger, zones: dict[str, str], *, now: datetime) -> None:
    """Load people as a refresh does, each with a zone."""
    lines = [
        {
            "contact_id": name, "account_id": name, "address": address_of(name), "given_name": name, "full_name": name,
            "time_zone": zone,
        }
        for name, zone in zones.items()
    ]  # fmt: skip
    ledger.people.load(pa.Table.from_pylist(lines), now=now)
