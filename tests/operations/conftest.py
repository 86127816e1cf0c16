"""A small customer base with the real rules and a real ledger; the sender is a stroke of the pen."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pytest

from tests.crash.outbox import fill
from tests.operations.planned_mails import World, names
from uptake.adapters.journeys_duckdb import DuckJourneys
from uptake.adapters.ledger import open_ledger
from uptake.domain.playbooks import Playbook, Release, StageText
from uptake.domain.workspace import Workspace
from uptake.errors import SnapshotError
from uptake.operations.approve import approve
from uptake.operations.plan import PlanResult, plan
from uptake.operations.tick import TickResult, tick
from uptake.ports import Approved, Keys, Plan, Snapshot
from uptake.testing import write_snapshot

NOW = datetime(2026, 3, 3, 9, 0, tzinfo=UTC)
KEYS = Keys(pseudonym=b"k" * 32, tokens=(b"t" * 32,))
PEOPLE = pa.schema(
    [
        (name, pa.timestamp("us", "UTC") if name == "consent_at" else pa.string())
        for name in (
            *("contact_id", "account_id", "address", "given_name", "full_name", "role", "time_zone", "locale"),
            *("consent_basis", "consent_at"),
        )
    ]
)
WORKSPACE = {
    "sender": {"name": "Uptake", "address": "success@vendor.example"},
    "postal_address": "1 Long Street, Town",
    "topics": {"training": 7},
    "caps": {"person": {"mails": 3, "per": "7d"}, "account": {"mails": 9, "per": "7d"}},
    "window": {"start": time(8), "end": time(18)},
    "consent": {"default_basis": "contract"},
}
PLAYBOOK = {
    "teaches": "dashboards",
    "topic": "training",
    "audience": {"where": "account.plan == 'team' and feature.adoption_state == 'never'"},
    "goal": {"reach": "adopted", "by": "account", "within": "28d"},
    "holdout": "30%",
    "backfill": "all",
    "stages": {
        "why": {"email": "why.md"},
        "how": {"email": "how.md", "after": "3d", "when": "feature.adoption_state == 'never'"},
        "call": {"task": "Offer a session", "after": "2d"},
    },
}


def build_release(name: str = "alpha", *, workspace: Mapping[str, Any] | None = None, **playbook: Any) -> Release:
    """Return a release; what is given replaces keys of the plain one."""
    definition = Playbook.model_validate(PLAYBOOK | playbook)
    texts = {key: StageText(subject=key, body="Body") for key, stage in definition.stages.items() if stage.email}
    rules = Workspace.model_validate(WORKSPACE | (workspace or {}))
    return Release(name=name, playbook=definition, workspace=rules, texts=texts, layout="<mjml/>")


class Town:
    """Accounts, their people, and everything a tick needs."""

    release = staticmethod(build_release)

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.journeys = DuckJourneys()
        self.ledger = open_ledger(f"sqlite:///{folder / 'ledger.sqlite3'}", KEYS)
        self.releases: dict[str, Release] = {"alpha": build_release()}
        self.accounts: dict[str, dict[str, Any]] = {}
        self.contacts: dict[str, dict[str, Any]] = {}
        self.states: dict[str, str] = {}  # account -> adoption of dashboards
        self.snapshot: Snapshot | None = None
        self.is_readable = True

    # --- the ports that are small enough to be played here ---

    def current(self) -> Snapshot | None:
        if not self.is_readable:
            raise SnapshotError("snapshot test lacks accounts_current.parquet")
        return self.snapshot

    # --- the world ---

    def settle(
        self,
        count: int,
        *,
        contacts: int = 2,
        seed: int = 1,
        shared_addresses: bool = False,
        prefix: str = "account",
        is_plain: bool = False,
    ) -> None:
        """Let accounts move in; unless they are plain, some are on another plan, have a ticket or are new."""
        random = Random(seed)
        for number in range(count):
            account_id = f"{prefix}-{number}"
            self.accounts[account_id] = {
                "account_id": account_id,
                "plan": "team" if is_plain else random.choice(["team", "team", "team", "free"]),
                "arr": float(random.randrange(50_000)),
                "seats": random.randrange(1, 400),
                "age_days": 100 if is_plain else random.choice([100, 100, 100, 3]),
                "churned": False,
                "is_internal": False,
                "count_open_tickets": 0 if is_plain else random.choice([0, 0, 0, 0, 1]),
            }
            self.states[account_id] = "never"
            for place in range(contacts):
                contact_id = f"contact-{account_id}-{place}"
                mailbox = random.randrange(count) if shared_addresses else f"{account_id}-{place}"
                self.contacts[contact_id] = {
                    "contact_id": contact_id,
                    "account_id": account_id,
                    "address": f"mailbox-{mailbox}@example.invalid",
                    "role": random.choice(["admin", "member"]),
                    "time_zone": random.choice([None, "Europe/Berlin", "Asia/Tokyo"]),
                }

    def publish(
        self, as_of: datetime = NOW, *, snapshot_id: str = "test", passed: bool = True, manifest: Any = None
    ) -> None:
        """Publish the world as it is now, and load its people."""
        rows = list(self.contacts.values())
        marts = {
            "accounts_current": list(self.accounts.values()),
            "account_features": [
                {"account_id": key, "feature_key": "dashboards", "is_entitled": True, "adoption_state": state}
                for key, state in self.states.items()
            ],
            "contacts_current": [
                {
                    "contact_id": row["contact_id"],
                    "account_id": row["account_id"],
                    "role": row["role"],
                    "active_days_28": 5,
                }
                for row in rows
            ],
        }
        snapshot = write_snapshot(self.folder, as_of=as_of, marts=marts, snapshot_id=snapshot_id)
        self.snapshot = Snapshot(
            snapshot_id=snapshot_id, as_of=as_of, directory=snapshot.directory, manifest=manifest or {"goal_hash": "g"}
        )
        lines = [{name: row.get(name) for name in PEOPLE.names} for row in rows]
        self.ledger.people.load(pa.Table.from_pylist(lines, schema=PEOPLE), now=as_of)
        status = "passed" if passed else "held"
        self.ledger.gates.record(snapshot_id=snapshot_id, status=status, checks=(), reasons=(), as_of=as_of, now=as_of)

    # --- the verbs ---

    def plan(self, name: str = "alpha", *, now: datetime = NOW) -> PlanResult:
        return plan(_Playbooks(self), self.journeys, self, self.ledger, name=name, git_sha="abc", now=now)

    def approve(self, name: str = "alpha", *, now: datetime = NOW) -> Approved:
        return approve(self.ledger, plan_id=self.plan(name, now=now).plan.plan_id, by="Ada", now=now)

    def tick(self, now: datetime = NOW) -> TickResult:
        return tick(self.journeys, self, self.ledger, now=now, git_sha="abc", owner="test")

    def send(self, now: datetime = NOW) -> list[str]:
        """Let every planned mail be accepted; return the send ids."""
        sent: list[str] = []
        while claimed := self.ledger.sends.claim(owner="w", limit=100, now=now, lease=timedelta(minutes=5)):
            ids = [one.send_id for one in claimed]
            refused = self.ledger.sends.intend(
                ids, owner="w", body_hash="h", now=now, deadline=now + timedelta(minutes=1)
            )
            if refused:
                ids = [one for one in ids if one not in refused]
                self.ledger.sends.intend(ids, owner="w", body_hash="h", now=now, deadline=now + timedelta(minutes=1))
            self.ledger.sends.accepted(ids, message_id=None, now=now)
            sent += ids
        return sent

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Ask the ledger's file."""
        with sqlite3.connect(self.folder / "ledger.sqlite3") as connection:
            return connection.execute(query, values).fetchall()

    def entrants(self, plan: Plan) -> list[tuple[str, str, str]]:
        """Return whom a stored plan takes in: account, contact, arm."""
        found = self.ledger.releases.entrants(plan.plan_id)
        return list(zip(*(found[name].to_pylist() for name in ("account_id", "contact_id", "arm")), strict=True))

    def everything(self) -> dict[str, Sequence[Any]]:
        """Return all that is in the ledger, the rows of runs aside."""
        names = [
            name for (name,) in self.rows("select name from sqlite_master where type = 'table' and name <> 'runs'")
        ]
        return {name: self.rows(f"select * from {name} order by 1") for name in names}


class _Playbooks:
    def __init__(self, town: Town) -> None:
        self._town = town

    def names(self) -> list[str]:
        return sorted(self._town.releases)

    def release(self, name: str) -> Release:
        return self._town.releases[name]

    def workspace(self) -> Workspace:
        return self._town.releases["alpha"].workspace


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    """Twenty accounts with two people each, published and passed."""
    found = Town(tmp_path)
    found.settle(20)
    found.publish()
    yield found
    found.ledger.close()


@pytest.fixture
def playbooks(town: Town) -> _Playbooks:
    """The folder of the town's playbooks."""
    return _Playbooks(town)


@pytest.fixture(scope="session")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a ledger with COUNT planned mails: made once, copied for each test."""
    path = tmp_path_factory.mktemp("planned") / "ledger.sqlite3"
    ledger = open_ledger(f"sqlite:///{path}", KEYS)
    fill(ledger, names())
    ledger.close()
    return path


@pytest.fixture
def world(planned: Path, tmp_path: Path) -> Iterator[World]:
    world = World(planned, tmp_path)
    yield world
    world.ledger.close()
