"""A ledger in which some mails are planned, and a mail service that answers as it is told."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from tests.crash.outbox import KEYS, LINKS, NOW, RELEASE
from uptake.adapters.ledger import SqlLedger, open_ledger
from uptake.domain.eligibility import Reason
from uptake.domain.playbooks import Release
from uptake.errors import (
    SnapshotError,
)
from uptake.operations.send import SendResult, send_due
from uptake.ports import (
    Advance,
    Approved,
    Check,
    Claimed,
    Entry,
    MailBatch,
    Plan,
    Rendered,
    Snapshot,
)
from uptake.testing import FixedClock

COUNT = 25


def fill(ledger: SqlLedger) -> None:
    names = [f"c{number:03}" for number in range(COUNT)]
    people = {
        "contact_id": names,
        "account_id": names,
        "address": [f"{name}@customer.example" for name in names],
        "given_name": [name.title() for name in names],
        "full_name": [name.title() for name in names],
        **{column: ["x"] * COUNT for column in ("role", "time_zone", "locale")},
    }
    table = pa.table(
        {**{name: pa.array(column, pa.string()) for name, column in people.items()}}
        | {"consent_basis": pa.nulls(COUNT, pa.string()), "consent_at": pa.nulls(COUNT, pa.timestamp("us"))}
    )
    ledger.people.load(table, now=NOW)
    check = Check(name="c", status="passed", severity="critical")
    gate_id = ledger.gates.record(snapshot_id="s1", status="passed", checks=[check], reasons=[], as_of=NOW, now=NOW)
    version_id = ledger.releases.save_version(RELEASE, git_sha="abc", now=NOW)
    plan = Plan(
        plan_id="p1",
        playbook=RELEASE.name,
        version_id=version_id,
        release_hash=RELEASE.release_hash,
        plan_hash="h",
        snapshot_id="s1",
        planned_at=NOW,
        count_accounts=COUNT,
        count_contacts=COUNT,
        summary={},
    )
    ledger.releases.save_plan(plan)
    ledger.releases.approve(plan, by="Grace", now=NOW, expires_at=NOW + timedelta(days=90), tolerance=0.25)
    approved: Approved = ledger.releases.approved()[0]
    contacts = pa.Table.from_pylist(
        [
            {
                "account_id": name,
                "contact_id": name,
                "contact_rank": 1,
                "feature_key": "boards",
                "entry_no": 1,
                "arm": "treatment",
                "u": 0.5,
                "stratum": "team",
            }
            for name in names
        ]
    )
    ledger.enrollments.enter(
        Entry(contacts=contacts, left_out=pa.table({})), approved, snapshot_id="s1", gate_id=gate_id, now=NOW
    )
    run = ledger.runs.begin("tick", owner="test", now=NOW, lease=timedelta(minutes=5))
    assert run is not None
    entered = ledger.enrollments.tables(now=NOW)["enrollment_contacts"].sort_by("contact_id").to_pylist()
    verdicts = [
        {
            "enrollment_id": row["enrollment_id"],
            "contact_id": row["contact_id"],
            "stage_key": "why",
            "verdict": "send",
            "reason": None,
            "detail": "",
            "version_id": version_id,
            "feature_key": "boards",
            "due_at": NOW.replace(tzinfo=None),
            "window_ends_at": None,
        }
        for row in entered
    ]
    kinds = {
        "enrollment_id": pa.int64(),
        "version_id": pa.int64(),
        "due_at": pa.timestamp("us"),
        "window_ends_at": pa.timestamp("us"),
    }
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in verdicts[0]])
    ending = pa.schema([("enrollment_id", pa.int64()), ("contact_id", pa.string()), ("reason", pa.string())])
    ledger.enrollments.record(
        Advance(
            endings=ending.empty_table(),
            account_endings=ending.remove(1).empty_table(),
            verdicts=pa.Table.from_pylist(verdicts, schema=schema),
        ),
        releases={version_id: RELEASE},
        snapshot_id="s1",
        gate_id=gate_id,
        git_sha="abc",
        run=run,
        now=NOW,
    )


class World:
    """A copy of the planned ledger, and what a worker needs beside it."""

    def __init__(self, planned: Path, folder: Path) -> None:
        self.path = folder / f"ledger-{random.getrandbits(64):x}.sqlite3"
        shutil.copy(planned, self.path)
        self.ledger = open_ledger(f"sqlite:///{self.path}", KEYS)
        self.clock = FixedClock(NOW)
        self.as_of = NOW

    def open(self, snapshot_id: str) -> Snapshot:
        if snapshot_id != "s1":
            raise SnapshotError(f"no snapshot {snapshot_id}")
        return Snapshot(snapshot_id="s1", as_of=self.as_of, directory=self.path.parent, manifest={})

    def values(self, snapshot: Snapshot, release: Release, claimed: Sequence[Claimed]) -> dict[str, Any]:
        return {
            send.send_id: {
                "account": {"account_id": send.account_id},
                "contact": {"given_name": send.given_name},
                "feature": {"name": None},
            }
            for send in claimed
        }

    def send(self, mailer: Any, *, fields: Any = None, owner: str = "w1", **options: Any) -> SendResult:
        return send_due(self.ledger, mailer, fields or self, LINKS, self, clock=self.clock, owner=owner, **options)

    def rows(self) -> list[sqlite3.Row]:
        with sqlite3.connect(self.path) as connection:
            connection.row_factory = sqlite3.Row
            return connection.execute("select * from sends order by send_key").fetchall()

    def statuses(self) -> Counter[str]:
        return Counter(row["status"] for row in self.rows())

    def lock(self, action: str = "resume", scope: str = "sending", target: str = "") -> None:
        self.ledger.releases.control(scope, target, action, reason="a person said so", by="Grace", now=self.clock.now())


Answer = Callable[[tuple[str, ...]], str | None]


def fine(send_ids: tuple[str, ...]) -> str | None:
    return "message-id"


def fails(error: Exception) -> Answer:
    def answer(send_ids: tuple[str, ...]) -> str | None:
        raise error

    return answer


class ScriptedMailer:
    """Answers request after request as it was told, then `always`."""

    seconds_to_wait = 0.0

    def __init__(self, *answers: Answer, always: Answer = fine, sandbox: bool = False) -> None:
        self._answers = list(answers)
        self._always = always
        self.sandbox = sandbox
        self.requests: list[tuple[str, ...]] = []
        self.refuse: dict[str, Reason] = {}
        self.before_post: Callable[[], None] = lambda: None
        self.after_render: Callable[[], None] = lambda: None

    def render(self, batch: MailBatch) -> Rendered:
        refused = {r.send_id: reason for r in batch.recipients if (reason := self.refuse.get(r.contact_id))}
        send_ids = tuple(r.send_id for r in batch.recipients if r.send_id not in refused)
        self.after_render()
        return Rendered(body=b"x", body_hash=",".join(send_ids)[:60], send_ids=send_ids, refused=refused)

    def post(self, rendered: Rendered) -> str | None:
        self.before_post()
        self.requests.append(rendered.send_ids)
        return (self._answers.pop(0) if self._answers else self._always)(rendered.send_ids)

    @property
    def sizes(self) -> list[int]:
        return [len(request) for request in self.requests]
