"""The two ends of a storm: the process that receives, started and killed at will, and the service that posts."""

from __future__ import annotations

import http.client
import math
import os
import random
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from types import TracebackType

from tests.crash.kills import Zygote
from tests.crash.outbox import KEYS, NOW
from tests.crash.storm import AT_ONCE, PUBLIC_KEY, Storm, differences, digest, signed
from uptake.adapters.ledger import open_ledger
from uptake.adapters.sendgrid_events import SendGridEvents
from uptake.operations.record_delivery import record_delivery
from uptake.testing import FixedClock

# --- the receiver -----------------------------------------------------------------------------------------


class Receivers(Zygote):
    """Starts processes that receive or fold."""

    def __init__(self) -> None:
        super().__init__("tests.crash.receiver")

    def receive(self, url: str, port: int = 0, fail: str | None = None) -> Receiver:
        """Serve the public pages on this ledger, until a failpoint is passed or for ever."""
        return self._start(url=url, port=port, public_key=PUBLIC_KEY, fail=fail)

    def fold(self, url: str) -> Receiver:
        """Fold what is stored, again and again."""
        return self._start(url=url)

    def _start(self, **order: object) -> Receiver:
        pid, port = self.ask(**order)
        return Receiver(pid, port)


class Receiver:
    """One of these processes; ended when the context is left."""

    def __init__(self, pid: int, port: int) -> None:
        self.pid, self.port = pid, port
        self.peak = 0.0  # bytes that were resident at most
        self.cpu = 0.0  # seconds

    def __enter__(self) -> Receiver:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(signal.SIGTERM)

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return (Path("/proc") / str(self.pid)).exists()

    def look(self) -> None:
        """Note what it has used so far."""
        folder = Path("/proc") / str(self.pid)
        line = next(line for line in (folder / "status").read_text().splitlines() if line.startswith("VmHWM"))
        self.peak = 1024 * float(line.split()[1])
        ticks = (folder / "stat").read_text().rsplit(")", 1)[1].split()[11:13]
        self.cpu = sum(int(tick) for tick in ticks) / os.sysconf("SC_CLK_TCK")

    def end(self, how: signal.Signals) -> None:
        """Send it a signal and wait until it is gone."""
        try:
            self.look()
            os.kill(self.pid, how)
        except (OSError, StopIteration):  # it is gone, or going
            pass
        deadline = time.monotonic() + 60
        while self.is_alive:
            assert time.monotonic() < deadline, f"the process did not end by {how.name}"
            time.sleep(0.002)


# --- the other side ---------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class Posted:
    """What became of the posts."""

    seconds: list[float] = field(default_factory=list)  # from the first byte of a body to its 2xx
    again: int = 0  # posts without a 2xx, which were posted again
    answers: set[int] = field(default_factory=set)
    limit: float = math.inf  # bodies that may be begun, so that a storm is not over before its receiver is killed

    def within(self, share: float) -> float:
        """Return how many seconds that share of the posts took at most."""
        return sorted(self.seconds)[min(len(self.seconds) - 1, int(share * len(self.seconds)))]


def post_all(bodies: Sequence[bytes], port: int, *, patience: float = 120.0, posted: Posted | None = None) -> Posted:
    """Post every body, 50 at once, until each is acknowledged, as SendGrid does."""
    return post_signed([(body, signed(body)) for body in bodies], port, patience=patience, posted=posted)


def post_signed(
    posts: Sequence[tuple[bytes, Mapping[str, str]]],
    port: int,
    *,
    patience: float = 120.0,
    posted: Posted | None = None,
) -> Posted:
    """Post bodies that are signed already; `posted` lets somebody else look on."""
    posting = _Posting(posts, port, time.monotonic() + patience, posted or Posted())
    threads = [threading.Thread(target=posting.work) for _ in range(min(AT_ONCE, len(posts)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert posting.is_patient, f"not all was acknowledged in {patience} s; the answers were {posting.posted.answers}"
    return posting.posted


class _Posting:
    """What the threads share."""

    def __init__(
        self, posts: Sequence[tuple[bytes, Mapping[str, str]]], port: int, deadline: float, posted: Posted
    ) -> None:
        self._left = iter(posts)
        self._port = port
        self._deadline = deadline
        self._lock = threading.Lock()
        self._begun = 0
        self.posted = posted
        self.is_patient = True

    def work(self) -> None:
        """Post one body after the other on one connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        while (post := self._next()) is not None:
            while self.is_patient:
                started = time.monotonic()
                status = _post(connection, *post)
                if self._is_done(status, time.monotonic() - started):
                    break
                time.sleep(0.02)
        connection.close()

    def _next(self) -> tuple[bytes, Mapping[str, str]] | None:
        while True:
            with self._lock:
                if not self.is_patient:
                    return None
                if self._begun < self.posted.limit:
                    self._begun += 1
                    return next(self._left, None)
            time.sleep(0.001)

    def _is_done(self, status: int, seconds: float) -> bool:
        with self._lock:
            self.posted.answers.add(status)
            if 200 <= status < 300:
                self.posted.seconds.append(seconds)
                return True
            self.posted.again += 1
            self.is_patient = time.monotonic() < self._deadline
            return False


def _post(connection: http.client.HTTPConnection, body: bytes, headers: Mapping[str, str]) -> int:
    """Return the answer's status; 0 when there was none."""
    try:
        connection.request("POST", "/webhooks/sendgrid", body, dict(headers))
        response = connection.getresponse()
        response.read()
    except (OSError, http.client.HTTPException):
        connection.close()
        return 0
    return response.status


# --- a storm from its beginning to its end ----------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Weathered:
    """What a storm came to."""

    posted: Posted
    peak: float  # bytes that the receiver and the folder held at most
    kills: int
    losses: tuple[str, ...]


def weather(storm: Storm, url: str, replay_url: str, receivers: Receivers) -> Weathered:
    """Let a storm pass while another process folds, then compare with its sorted replay and its small model."""
    with receivers.receive(url) as receiver, receivers.fold(url) as folder:
        posted = post_all(storm.bodies, receiver.port)
        receiver.look()
        folder.look()
    return _judged(storm, url, replay_url, posted, peak=max(receiver.peak, folder.peak))


def weather_kills(
    storm: Storm, url: str, replay_url: str, receivers: Receivers, *, kills: int, chance: random.Random
) -> Weathered:
    """Let a storm pass while its receiver is killed with -9: at random moments, just before and just after a commit."""
    at = [*sorted(chance.sample(range(len(storm.bodies) // 2), kills)), math.inf]
    posted, done, peak = Posted(limit=at[0] + AT_ONCE), 0, 0.0
    receiver = receivers.receive(url)
    port = receiver.port
    poster = threading.Thread(target=post_all, args=(storm.bodies, port), kwargs={"posted": posted})
    poster.start()
    try:
        for threshold, following in pairwise(at):
            while poster.is_alive() and receiver.is_alive and len(posted.seconds) < threshold:
                time.sleep(0.001)
            receiver.end(signal.SIGKILL)
            done, peak = done + 1, max(peak, receiver.peak)
            posted.limit = following + AT_ONCE
            fail = chance.choice((None, "webhook: uncommitted:1:kill", "webhook: committed:1:kill"))
            receiver = receivers.receive(url, port, fail)
            if fail is not None:
                while receiver.is_alive and poster.is_alive():
                    time.sleep(0.001)
                receiver.end(signal.SIGKILL)
                done += 1
                receiver = receivers.receive(url, port)
        poster.join()
    finally:
        posted.limit = math.inf
        receiver.end(signal.SIGTERM)
    found = _judged(storm, url, replay_url, posted, peak=max(peak, receiver.peak))
    return replace(found, kills=done)


def _judged(storm: Storm, url: str, replay_url: str, posted: Posted, *, peak: float) -> Weathered:
    acknowledged = len(posted.seconds)
    losses = [] if acknowledged == len(storm.bodies) else [f"{acknowledged} of {len(storm.bodies)} acknowledged"]
    losses += [] if posted.answers <= {0, 204, 503} else [f"answers {sorted(posted.answers)}"]
    digests = []
    for one_url, bodies in ((url, ()), (replay_url, storm.in_order)):
        ledger = open_ledger(one_url, KEYS)
        try:
            for body in bodies:
                ledger.delivery.store(body, now=NOW)
            done = record_delivery(ledger, SendGridEvents(KEYS.pseudonym), clock=FixedClock(NOW))
            losses += [f"{done.stuck} bodies cannot be folded"] if done.stuck + done.unreadable else []
            losses += differences(ledger, storm)
            digests.append(digest(ledger))
        finally:
            ledger.close()
    losses += [] if digests[0] == digests[1] else ["the state is not that of the sorted replay"]
    return Weathered(posted=posted, peak=peak, kills=0, losses=tuple(losses))
