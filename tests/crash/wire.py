"""The mail service in this very process: fakegrid's rules, faults, accept log and Email Logs behind an httpx transport.

What goes wrong is fakegrid's own fault plan, word for word, and beside it what only a client sees: no connection, a
request that is written in part.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import orjson

from tests.crash.outbox import GROUP
from tests.crash.scheduler import Killed, Scheduler
from uptake.sandbox.fakegrid import FAULTS
from uptake.sandbox.fakegrid.faults import _Exchange
from uptake.sandbox.fakegrid.logs import BadQuery, MailLogs
from uptake.sandbox.fakegrid.mail import accepted_lines
from uptake.sandbox.fakegrid.validation import problems

#: What goes wrong before the service reads a whole request.
BROKEN: Mapping[str, Callable[[httpx.Request], Exception]] = {
    "no connection": lambda request: httpx.ConnectError("refused", request=request),
    "connecting takes too long": lambda request: httpx.ConnectTimeout("", request=request),
    "no free connection": lambda request: httpx.PoolTimeout("", request=request),
    "half written": lambda request: httpx.WriteError("reset", request=request),
    "writing takes too long": lambda request: httpx.WriteTimeout("", request=request),
}
#: That one waits for real time; answers that come late are what every pause here makes.
ANSWERED = sorted(set(FAULTS) - {"accepted, late"})
EVERY_FAULT = (*BROKEN, *ANSWERED)
#: Taken, and the sender does not hear of it: what must never be tried again.
_LOST = [name for name in ANSWERED if name.startswith("accepted, then")]


class Lines:
    """A growing list of JSON lines, each read once."""

    def __init__(self) -> None:
        self.all: list[dict[str, Any]] = []
        self._read = 0

    def read_new(self) -> list[dict[str, Any]]:
        new, self._read = self.all[self._read :], len(self.all)
        return new


class StillClock:
    """The scheduler's moment, without handing the baton back."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def now(self) -> datetime:
        return self._scheduler.moment


class Service:
    """What it accepted, and what it does with the next request."""

    def __init__(
        self, scheduler: Scheduler, chance: random.Random, *, first_fault: int, share: float, lag: timedelta
    ) -> None:
        self.accepted = Lines()
        self.fired: list[str] = []
        self.share = share  # of requests that meet a fault
        self.log_fails = 0.0  # the share of questions that its log does not answer
        self.scheduler, self.chance = scheduler, chance
        self.clock = StillClock(scheduler)
        self.on_request: Callable[[bytes, list[dict[str, Any]]], None] = lambda body, lines: None
        self.on_accepted: Callable[[list[dict[str, Any]]], None] = lambda lines: None
        self._logs = MailLogs(Path("/nowhere"), self.clock, lag=lag)
        self._logs._accepted = self.accepted  # type: ignore[assignment]
        self._count = 0
        self._first = first_fault

    def next_fault(self) -> str | None:
        if self.chance.random() >= self.share:
            return None
        # A world meets few of them: the first is each seed's own, so that many worlds meet them all.
        some = _LOST if self.chance.random() < 0.5 else EVERY_FAULT
        self.fired.append(self.chance.choice(some) if self.fired else EVERY_FAULT[self._first])
        return self.fired[-1]

    def accept(self, body: bytes) -> httpx.Response:
        """Decide as fakegrid does."""
        payload = orjson.loads(body)
        if found := problems(payload, now=self.scheduler.moment, groups=frozenset({GROUP})):
            return httpx.Response(400, json={"errors": found})
        self._count += 1
        message_id = hashlib.sha256(str(self._count).encode()).hexdigest()[:22]
        lines = accepted_lines(payload, message_id=message_id, accepted_at=self.scheduler.moment.isoformat())
        self.accepted.all += lines
        self.scheduler.trace.append(f"accepted {' '.join(line['send_id'] for line in lines)}")
        self.on_accepted(lines)
        return httpx.Response(202, headers={"X-Message-Id": message_id, "Content-Length": "0"})

    def logs(self, request: httpx.Request) -> httpx.Response:
        """Answer a question to the Email Logs."""
        self.scheduler.pause(f"log: asked {request.url.path}")
        if self.chance.random() < self.log_fails:
            return httpx.Response(self.chance.choice((403, 500, 503)), content=b"<html>")
        if request.method == "GET":
            found = self._logs.message(request.url.path.rsplit("/", 1)[1])
            return httpx.Response(404) if found is None else httpx.Response(200, content=orjson.dumps(found))
        asked = orjson.loads(request.content)
        try:
            messages = self._logs.search(asked["query"], asked["limit"])
        except BadQuery as error:
            return httpx.Response(400, json={"errors": [{"message": str(error)}]})
        return httpx.Response(200, content=orjson.dumps({"messages": messages}))


class Wire(httpx.BaseTransport):
    """Between one worker and the service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        service, scheduler = self._service, self._service.scheduler
        fault = service.next_fault()
        scheduler.pause("wire: connects")
        if fault in BROKEN and "writ" not in fault:
            raise BROKEN[fault](request)
        body = b""
        for part in request.stream:  # type: ignore[attr-defined]
            if fault in BROKEN and body:
                raise BROKEN[fault](request)
            body += part
        try:
            scheduler.pause("wire: written")
        except Killed:
            # The sender is dead, and its bytes are on their way.
            if service.chance.random() < 0.5 and (fault is None or FAULTS[fault].is_accepted):
                service.accept(body)
            raise
        service.on_request(body, accepted_lines(orjson.loads(body), message_id="", accepted_at=""))
        answer = _Answer(service, body)
        if fault is None:
            answer.forward()
        else:
            FAULTS[fault].answer(answer)
        scheduler.pause("wire: answered")
        return answer.whole(request)


class _Answer(_Exchange):
    """fakegrid's exchange without its socket: what a fault says is kept, and told as httpx tells it."""

    def __init__(self, service: Service, body: bytes) -> None:
        self._service, self._body = service, body
        self._connection: Any = self  # what a fault does to a socket, it does to us
        self._front: Any = self
        self.is_closing = self
        self.clock, self.silence = service.clock, 30.0
        self._said = b""
        self._told: httpx.Response | None = None
        self._error: type[httpx.TransportError] = httpx.RemoteProtocolError

    def accept(self) -> tuple[int, Mapping[str, str], bytes]:
        response = self._service.accept(self._body)
        self._service.scheduler.pause("wire: accepted")
        return response.status_code, response.headers, response.content

    def say(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        self._told = httpx.Response(status, headers=dict(headers or {}), content=body)

    def sendall(self, text: bytes) -> None:
        self._said += text
        head, is_whole, _ = self._said.partition(b"\r\n\r\n")
        if is_whole and head.startswith(b"HTTP/1.1 202"):
            self._told = httpx.Response(202, headers=_headers(head), stream=_Cut())

    def setsockopt(self, *_option: object) -> None:
        """It lingers for no time: a RST."""
        self._error = httpx.ReadError

    def close(self) -> None:
        """The other side sees it by the error."""

    def wait(self, seconds: float) -> None:
        """Nothing is said for longer than anybody waits."""
        self._error = httpx.ReadTimeout
        self._service.scheduler.advance(timedelta(seconds=seconds))

    def whole(self, request: httpx.Request) -> httpx.Response:
        """Return what the sender sees of it."""
        if self._told is None:
            raise self._error("", request=request)
        return self._told


class _Cut(httpx.SyncByteStream):
    """A body that ends too soon."""

    def __iter__(self) -> Iterator[bytes]:
        yield b"cut he"
        raise httpx.RemoteProtocolError("peer closed connection without sending complete message body")


def _headers(head: bytes) -> list[tuple[bytes, bytes]]:
    lines = [line.partition(b":") for line in head.split(b"\r\n")[1:]]
    return [(name, value.strip()) for name, _, value in lines]
