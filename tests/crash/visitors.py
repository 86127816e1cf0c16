"""Calls an ASGI app as a server does, header by header, but without a socket: for tests that ask very often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes


async def call(app: ASGIApp, method: str, path: str, *, headers: Headers = (), body: bytes = b"") -> Answer:
    """Make one request. Headers may repeat, and may hold whatever latin-1 can."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in headers],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    halves = [body[: len(body) // 2], body[len(body) // 2 :]]
    sent: list[Mapping[str, Any]] = []

    async def receive() -> Mapping[str, Any]:
        part = halves.pop(0) if halves else b""
        return {"type": "http.request", "body": part, "more_body": bool(halves)}

    async def send(message: Mapping[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)  # type: ignore[arg-type]
    return Answer(
        status=sent[0]["status"],
        headers={name.decode(): value.decode() for name, value in sent[0]["headers"]},
        body=b"".join(message.get("body", b"") for message in sent[1:]),
    )
