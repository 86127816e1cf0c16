"""A ledger in which some mails are planned, and a mail service that answers as it is told."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.crash.outbox import KEYS, LINKS, NOW
from uptake.adapters.ledger import open_ledger
from uptake.domain.eligibility import Reason
from uptake.domain.playbooks import Release
from uptake.errors import (
    SnapshotError,
)
from uptake.operations.send import SendResult, send_due
from uptake.ports import (
    Claimed,
    MailBatch,
    Rendered,
    Snapshot,
)
from uptake.testing import FixedClock

COUNT = 25


def names() -> list[str]:
    """Return whom a mail is planned for."""
    return [f"c{number:03}" for number in range(COUNT)]


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
