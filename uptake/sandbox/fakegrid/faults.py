"""Breaks requests on purpose, in front of fakegrid on a socket of its own: resets, cuts, silence, odd answers.

A fault strikes before the mail is accepted or after it; the accept log behind it is on disk by then and tells the
truth. Which request meets which fault follows from a seed, so that a run can be repeated.
"""

from __future__ import annotations

import http.client
import random
import socket
import socketserver
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType

import orjson

from uptake.ports import Clock

_MAIL = "/v3/mail/send"
_HTML = b"<html><body><h1>502 Bad Gateway</h1><hr>nginx</body></html>"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One way for a request to go wrong."""

    name: str
    is_accepted: bool  # the mail behind it is taken, whatever the sender is told
    answer: Callable[[_Exchange], None]


class FaultPlan:
    """Says which fault the n-th mail request meets; None = it goes well."""

    def __init__(self, faults: Sequence[str | None] = (), *, seed: int | None = None, share: float = 0.5) -> None:
        """Take the faults one after the other; or, with a seed, draw one of them for a share of all requests."""
        unknown = {name for name in faults if name is not None} - set(FAULTS)
        if unknown:
            raise ValueError(f"no such faults: {sorted(unknown)}; expected some of {sorted(FAULTS)}")
        self._faults, self._seed, self._share = tuple(faults), seed, share

    def of(self, number: int) -> Fault | None:
        """Return the fault of a request, counted from 0."""
        if self._seed is None:
            name = self._faults[number] if number < len(self._faults) else None
        else:
            chance = random.Random(f"{self._seed}:{number}")  # noqa: S311 (it only has to repeat itself)
            name = chance.choice(self._faults) if chance.random() < self._share else None
        return None if name is None else FAULTS[name]


class FaultyFront:
    """A server that stands before fakegrid and lets every request through but those the plan breaks."""

    def __init__(self, port: int, plan: FaultPlan, clock: Clock, *, silence: float = 2.0) -> None:
        """Serve on a free port.

        Args:
            port: Where fakegrid listens, on 127.0.0.1.
            plan: Which request meets which fault.
            clock: The sandbox's time, for rate limits.
            silence: Seconds of no answer; longer than the sender waits.
        """
        self.fired: list[str] = []  # the name of each fault that struck, in order
        self.count_requests = 0
        self._plan, self._lock = plan, threading.Lock()
        self.port, self.clock, self.silence = port, clock, silence
        self.is_closing = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.front = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        """The address to send mail to."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def next_fault(self) -> Fault | None:
        """Return what the next mail request meets."""
        with self._lock:
            fault = self._plan.of(self.count_requests)
            self.count_requests += 1
            if fault is not None:
                self.fired.append(fault.name)
        return fault

    def __enter__(self) -> FaultyFront:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.is_closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    front: FaultyFront

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: broken connections are what this is for."""


class _Handler(socketserver.BaseRequestHandler):
    server: _Server
    request: socket.socket

    def handle(self) -> None:
        reader = self.request.makefile("rb")
        while self._one(reader):
            pass

    def _one(self, reader: object) -> bool:
        exchange = _Exchange.read(self.request, reader, self.server.front)
        if exchange is None:
            return False
        is_mail = exchange.method == "POST" and exchange.path == _MAIL
        fault = self.server.front.next_fault() if is_mail else None
        if fault is None:
            exchange.forward()
            return True
        fault.answer(exchange)
        return False


class _Exchange:
    """One request on its connection."""

    def __init__(
        self, connection: socket.socket, front: FaultyFront, line: str, headers: Mapping[str, str], body: bytes
    ) -> None:
        self._connection, self._front = connection, front
        self.method, self.path = line.split(" ")[:2]
        self._headers, self._body = headers, body

    @classmethod
    def read(cls, connection: socket.socket, reader: object, front: FaultyFront) -> _Exchange | None:
        line = reader.readline().decode("latin-1").strip()  # type: ignore[attr-defined]
        if not line:
            return None
        headers: dict[str, str] = {}
        while text := reader.readline().decode("latin-1").strip():  # type: ignore[attr-defined]
            name, _, value = text.partition(":")
            headers[name.strip().lower()] = value.strip()
        body = reader.read(int(headers.get("content-length") or 0))  # type: ignore[attr-defined]
        return cls(connection, front, line, headers, body)

    def forward(self) -> None:
        """Let fakegrid answer, and pass on what it says."""
        status, headers, body = self.accept()
        self.say(status, body, headers)

    def accept(self) -> tuple[int, Mapping[str, str], bytes]:
        """Let fakegrid decide; return its answer without passing it on."""
        upstream = http.client.HTTPConnection("127.0.0.1", self._front.port, timeout=30)
        try:
            kept = {name: self._headers[name] for name in ("authorization", "content-type") if name in self._headers}
            upstream.request(self.method, self.path, self._body, kept)
            response = upstream.getresponse()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return response.status, headers, response.read()
        finally:
            upstream.close()

    def say(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        """Answer properly."""
        told = {
            name: value
            for name, value in (headers or {}).items()
            if name not in ("content-length", "transfer-encoding", "connection")
        }
        told["Content-Length"] = str(len(body))
        lines = [f"HTTP/1.1 {status} x", *(f"{name}: {value}" for name, value in told.items())]
        self.raw("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def refuse(self, status: int, message: str, field: str | None = None, **headers: str) -> None:
        """Answer with SendGrid's envelope."""
        errors = [{"message": message, "field": field, "help": None}]
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.say(status, orjson.dumps({"errors": errors}), {"Content-Type": "application/json", **named})

    def raw(self, text: bytes) -> None:
        self._connection.sendall(text)

    def reset(self) -> None:
        """Close so that the other side gets a RST."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._connection.close()

    def keep_silent(self) -> None:
        """Say nothing for longer than anybody waits."""
        self._front.is_closing.wait(self._front.silence)

    @property
    def now(self) -> datetime:
        return self._front.clock.now()


def _say_nothing(_exchange: _Exchange) -> None:
    """The connection is closed in an orderly way."""


def _accepted_first(answer: Callable[[_Exchange], None]) -> Callable[[_Exchange], None]:
    def after(exchange: _Exchange) -> None:
        exchange.accept()
        answer(exchange)

    return after


def _cut_202(exchange: _Exchange) -> None:
    _, headers, _ = exchange.accept()
    exchange.raw(f"HTTP/1.1 202 Accepted\r\nX-Message-Id: {headers['x-message-id']}\r\n".encode())
    exchange.raw(b"Content-Length: 100\r\n\r\ncut he")


def _without_id(exchange: _Exchange) -> None:
    exchange.accept()
    exchange.say(202)


def _late(exchange: _Exchange) -> None:
    threading.Event().wait(0.05)
    exchange.forward()


def _reset_in(seconds: int) -> Callable[[_Exchange], None]:
    def limited(exchange: _Exchange) -> None:
        reset = str(int(exchange.now.timestamp()) + seconds)
        exchange.refuse(429, "too many requests", X_RateLimit_Remaining="0", X_RateLimit_Reset=reset)

    return limited


def _refusal(status: int, message: str, field: str | None = None) -> Callable[[_Exchange], None]:
    return lambda exchange: exchange.refuse(status, message, field)


def _page(status: int) -> Callable[[_Exchange], None]:
    return lambda exchange: exchange.say(status, _HTML, {"Content-Type": "text/html"})


_INVALID = "Does not contain a valid address."
_BEFORE: Mapping[str, Callable[[_Exchange], None]] = {
    "reset": _Exchange.reset,
    "closed": _say_nothing,
    "silence": _Exchange.keep_silent,
    "cut status line": lambda exchange: exchange.raw(b"HTTP/1.1 2"),
    "garbage": lambda exchange: exchange.raw(b"\x16\x03\x01 what?\r\n\r\n"),
    "429, reset ahead": _reset_in(90),
    "429, reset past": _reset_in(-90),
    "429, no reset": _refusal(429, "too many requests"),
    "400, names an address": _refusal(400, _INVALID, "personalizations.0.to.0.email"),
    "400, names nobody": _refusal(400, "Bad Request"),
    "400, a page": _page(400),
    "401, key": _refusal(401, "The provided authorization grant is invalid, expired, or revoked"),
    "401, credits": _refusal(401, "Maximum credits exceeded"),
    "403, sender": _refusal(403, "The from address does not match a verified Sender Identity.", "from"),
    "404": _refusal(404, "not found"),
    "405": _refusal(405, "POST method allowed only"),
    "413": _refusal(413, "The request body must be smaller than 30 MB."),
    "500": _refusal(500, "internal server error"),
    "502, a page": _page(502),
    "503": _refusal(503, "service unavailable"),
    "504, a page": _page(504),
    "301": lambda exchange: exchange.say(301, b"", {"Location": "https://elsewhere.invalid/"}),
    "200": lambda exchange: exchange.say(200),
    "201": lambda exchange: exchange.say(201),
}
_AFTER: Mapping[str, Callable[[_Exchange], None]] = {
    "accepted, then silence": _accepted_first(_Exchange.keep_silent),
    "accepted, then reset": _accepted_first(_Exchange.reset),
    "accepted, then closed": _accepted_first(_say_nothing),
    "accepted, then cut status line": _accepted_first(lambda exchange: exchange.raw(b"HTTP/1.1 2")),
    "accepted, then 500": _accepted_first(_refusal(500, "internal server error")),
    "accepted, then a page with 502": _accepted_first(_page(502)),
    "accepted, body cut": _cut_202,
    "accepted, no id": _without_id,
    "accepted, late": _late,
}

#: Every fault by its name.
FAULTS: Mapping[str, Fault] = {
    **{name: Fault(name=name, is_accepted=False, answer=answer) for name, answer in _BEFORE.items()},
    **{name: Fault(name=name, is_accepted=True, answer=answer) for name, answer in _AFTER.items()},
}
