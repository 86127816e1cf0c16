"""T9: people unsubscribe at random instants around claim, intent and request; no request is intended after it.

Every commit lies between two numbers of one sequence, every request and every 2xx has one: what is judged is which was
first, never a clock.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa

from tests.crash.outbox import API_KEY, KEYS, LINKS, NOW, RELEASE, TIMEOUT, Outbox, address_of
from tests.crash.storm import PRIVATE, signed
from tests.crash.visitors import call
from uptake import failpoints
from uptake.adapters.ledger.schema import sends, suppressions
from uptake.adapters.sendgrid import SEND_ID_ARG, SendGridMailer
from uptake.adapters.tokens import Claim, Tokens
from uptake.domain.ids import address_hash
from uptake.operations.record_delivery import record_delivery
from uptake.web_public import create_public_app

#: Where somebody may unsubscribe while the worker is there.
POINTS = (
    "claim: committed",
    "rendered",
    "intent: checked",
    "intent: uncommitted",
    "intent: committed",
    "post: answered",
)
WAYS = ("one click", "preference page", "webhook")
_LONGEST = 0.003  # seconds that a worker waits at a point at most


@dataclass(frozen=True, kw_only=True)
class Commit:
    """A transaction was committed after `before` and before `after`."""

    before: int
    after: int


@dataclass(frozen=True, kw_only=True)
class Raced:
    """What one world came to."""

    races: int
    mails: int
    duplicates: int
    in_flight: int  # requests that began after the commit and had been intended before it
    losses: tuple[str, ...]


class Race:
    """A ledger with planned mails, workers that send them, and recipients who stop them meanwhile."""

    def __init__(self, url: str, home: Path, seed: int) -> None:
        self._chance = random.Random(seed)
        self._next = itertools.count().__next__
        self._here = threading.local()
        self._outboxes: list[Outbox] = []
        self._url, self._home = url, home
        self._recipients = self._outbox()
        self._people = self._contacts()
        self._in_hand: dict[int, list[str]] = {}
        self._left = set(self._people.values())  # who may still unsubscribe
        self._asked: list[Future[None]] = []
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(3)
        self._loop = asyncio.new_event_loop()
        self._app = create_public_app(
            self._recipients.ledger, tokens=Tokens(KEYS.tokens), clock=self._recipients.clock,
            webhook_keys=(PRIVATE.public_key(),), topics=("training",),
        )  # fmt: skip
        self.intents: dict[str, list[Commit]] = defaultdict(list)  # by contact
        self.stops: dict[str, list[Commit]] = defaultdict(list)
        self.requests: dict[str, list[int]] = defaultdict(list)
        self.answers: dict[str, list[int]] = defaultdict(list)
        self.refused: list[str] = []

    # --- what is listened to ---

    def _outbox(self) -> Outbox:
        outbox = Outbox(self._url, self._home, "http://127.0.0.1:1")
        outbox.mailer.close()
        outbox.mailer = SendGridMailer(
            "http://127.0.0.1:1",
            API_KEY,
            clock=outbox.clock,
            timeout=TIMEOUT,
            transport=httpx.MockTransport(self._take),
        )
        self._bracket_commits(outbox.ledger._store)
        self._listen(outbox.ledger)
        self._outboxes.append(outbox)
        return outbox

    def _bracket_commits(self, store: Any) -> None:
        write = store.write

        @contextmanager
        def bracketed(**options: Any) -> Iterator[sa.Connection]:
            with write(**options) as connection:
                yield connection
                before = self._next()
            self._here.last = Commit(before=before, after=self._next())

        store.write = bracketed

    def _listen(self, ledger: Any) -> None:
        intend, unsubscribe, fold_all = ledger.sends.intend, ledger.people.unsubscribe, ledger.delivery.fold_all
        claim = ledger.sends.claim

        def claimed(**options: Any) -> Any:
            found = claim(**options)
            self._in_hand[threading.get_ident()] = [send.contact_id for send in found]
            return found

        def intended(send_ids: Sequence[str], **options: Any) -> Any:
            failures = intend(send_ids, **options)
            for send_id in () if failures else send_ids:
                self.intents[self._people[send_id]].append(self._here.last)
            return failures

        def stopped(contact_id: str, **options: Any) -> None:
            unsubscribe(contact_id, **options)
            self.stops[contact_id].append(self._here.last)

        def folded(read: Any, **options: Any) -> Any:
            new = fold_all(read, **options)
            for one in read:
                for event in one.events:
                    self.stops[event.address.split("@")[0]].append(self._here.last)
            return new

        ledger.sends.claim, ledger.sends.intend = claimed, intended
        ledger.people.unsubscribe, ledger.delivery.fold_all = stopped, folded

    def _take(self, request: httpx.Request) -> httpx.Response:
        started = self._next()
        for one in json.loads(request.content)["personalizations"]:
            self.requests[self._people[one["custom_args"][SEND_ID_ARG]]].append(started)
        return httpx.Response(202, headers={"X-Message-Id": "m" * 22})

    # --- what happens ---

    def run(self, *, workers: int) -> Raced:
        """Send everything while people unsubscribe; judge."""
        loop = threading.Thread(target=self._loop.run_forever)
        loop.start()
        outboxes = [self._outbox() for _ in range(workers)]
        threads = [
            threading.Thread(target=self._send, args=(outbox, f"w{number}")) for number, outbox in enumerate(outboxes)
        ]
        failpoints_at, failpoints.at = failpoints.at, self._pass
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            for asked in self._asked:
                asked.result()
        finally:
            failpoints.at = failpoints_at
            self._pool.shutdown()
            self._loop.call_soon_threadsafe(self._loop.stop)
            loop.join()
            self._loop.close()
        found = self._judge()
        for outbox in self._outboxes:
            outbox.close()
        return found

    def _send(self, outbox: Outbox, owner: str) -> None:
        self._here.is_worker = True
        for round_number in range(60):
            outbox.send(owner=f"{owner}-{round_number}", batch_size=self._chance.randrange(1, 8))
            left = Counter(outbox.statuses().values())
            if not left["planned"] + left["claimed"]:
                return
        self.refused.append(f"never sent: {left}")

    def _pass(self, point: str) -> None:
        """Let somebody in this worker's hands unsubscribe now, and now and then somebody else."""
        if not getattr(self._here, "is_worker", False) or point not in POINTS or self._chance.random() > 0.4:
            return
        with self._lock:
            near = [one for one in self._in_hand.get(threading.get_ident(), ()) if one in self._left]
            pool = near if near and self._chance.random() < 0.9 else sorted(self._left)
            if not pool or len(self._left) < len(self._people) // 10:
                return
            contact_id = self._chance.choice(pool)
            self._left.remove(contact_id)
            self._asked.append(self._pool.submit(self._unsubscribe, contact_id, self._chance.choice(WAYS)))
        time.sleep(self._chance.uniform(0, _LONGEST))

    def _unsubscribe(self, contact_id: str, way: str) -> None:
        token = LINKS.unsubscribe_url(contact_id=contact_id, topic="training", feature_key="boards").rsplit("/", 1)[1]
        assert Tokens(KEYS.tokens).read(token) == Claim(contact_id=contact_id, topic="training", feature_key="boards")
        if way == "one click":
            self._post(contact_id, f"/u/{token}", {}, b"List-Unsubscribe=One-Click")
        elif way == "preference page":
            choice = b"choice=everything" if contact_id.endswith(("1", "3", "5")) else b"choice=topic%3Atraining"
            self._post(contact_id, f"/p/{token}", {}, choice)
        else:
            event = {"event": "unsubscribe", "email": address_of(contact_id), "timestamp": int(NOW.timestamp())}
            body = json.dumps([event]).encode()
            self._post(contact_id, "/webhooks/sendgrid", signed(body), body)
            record_delivery(self._recipients.ledger, self._recipients.events, clock=self._recipients.clock)

    def _post(self, contact_id: str, path: str, headers: Mapping[str, str], body: bytes) -> None:
        coming = call(self._app, "POST", path, headers=list(headers.items()), body=body)
        answer = asyncio.run_coroutine_threadsafe(coming, self._loop).result(timeout=60)
        if not 200 <= answer.status < 300:
            self.refused.append(f"{path.split('/')[1]} answered {answer.status}")
        elif not path.startswith("/webhooks"):  # that promises to have it stored, and folds it later
            self.answers[contact_id].append(self._next())

    # --- what is judged ---

    def _contacts(self) -> dict[str, str]:
        with self._recipients.ledger._store.read() as connection:
            return dict(connection.execute(sa.select(sends.c.send_id, sends.c.contact_id)).all())

    def _judge(self) -> Raced:
        losses = list(self.refused)
        in_flight = 0
        statuses = {self._people[send_id]: status for send_id, status in self._recipients.statuses().items()}
        for contact_id, commits in self.stops.items():
            stop = min(commits, key=lambda commit: commit.after)
            if any(intent.before > stop.after for intent in self.intents[contact_id]):
                losses.append(f"{contact_id} was intended after the unsubscribe was committed")
            if any(answer < stop.before for answer in self.answers[contact_id]):
                losses.append(f"{contact_id} got a 2xx before the commit")
            in_flight += sum(started > stop.after for started in self.requests[contact_id])
        losses += [f"{one} got a 2xx without a commit" for one in self.answers if one not in self.stops]
        losses += [f"{one} unsubscribed and is not suppressed" for one in sorted(set(self.stops) - self._suppressed())]
        for contact_id, status in statuses.items():
            expected = {"accepted"} if self.requests[contact_id] else {"withheld"}
            if status not in expected:
                losses.append(f"{contact_id} is {status} after {len(self.requests[contact_id])} requests")
            if status == "withheld" and contact_id not in self.stops:
                losses.append(f"{contact_id} got nothing and did not unsubscribe")
        return Raced(
            races=len(self.stops),
            mails=sum(map(len, self.requests.values())),
            duplicates=sum(len(started) - 1 for started in self.requests.values() if started),
            in_flight=in_flight,
            losses=tuple(losses),
        )

    def _suppressed(self) -> set[str]:
        hashes = {address_hash(KEYS.pseudonym, address_of(one)): one for one in self._people.values()}
        with self._recipients.ledger._store.read() as connection:
            found = connection.execute(sa.select(suppressions.c.address_hash, suppressions.c.topic)).all()
        assert {topic for _, topic in found} <= {"", RELEASE.playbook.topic}
        return {hashes[address] for address, _ in found}
