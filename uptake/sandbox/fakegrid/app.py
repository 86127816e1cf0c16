"""The ASGI app that answers like SendGrid's Web API v3. It never logs what it gets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import orjson
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from uptake.ports import Clock
from uptake.sandbox.fakegrid.accept_log import AcceptLog
from uptake.sandbox.fakegrid.access import ALL, Access, refusal
from uptake.sandbox.fakegrid.logs import MailLogs
from uptake.sandbox.fakegrid.problem import bad_request
from uptake.sandbox.fakegrid.rate_limit import Meter, RateLimit
from uptake.sandbox.fakegrid.records import Records
from uptake.sandbox.fakegrid.validation import MAX_BYTES, is_sandboxed, problems

#: Where a fault strikes: the request is read and nothing happened yet, or it is accepted and nobody knows yet.
Phase = Literal["read", "accepted"]

#: Breaks one request on purpose. A response it returns replaces ours; what it raises cuts the connection.
Fault = Callable[[Phase, bytes], Awaitable[Response | None]]


def create_fakegrid(
    home: Path,
    *,
    clock: Clock,
    api_key: str,
    groups: frozenset[int] | None = None,
    fault: Fault | None = None,
    keys: Mapping[str, frozenset[str]] | None = None,
    log_lag: timedelta = timedelta(0),
    limit: RateLimit | None = None,
) -> Starlette:
    """Build the app; accepted mail is recorded under `home/fakegrid`.

    Args:
        home: `$UPTAKE_HOME`
        clock: The sandbox's time, for `accepted_at` and `send_at`
        api_key: The key that may do everything
        groups: The account's unsubscribe groups; None takes any id
        fault: Called in each phase of each request, to test what its caller survives
        keys: More keys, each with its scopes, e.g. `mail.send` or `messages.read`
        log_lag: How long after its acceptance a message first shows in the Email Logs
        limit: How many mail requests are taken in a window; None takes all, and says nothing of limits

    Raises:
        SettingsError: another process serves this home
    """
    log = AcceptLog(home, clock)
    access = Access({**(keys or {}), api_key: ALL})
    records = Records(home, clock, MailLogs(home, clock, lag=log_lag), groups)

    async def no_fault(_phase: Phase, _body: bytes) -> Response | None:
        return None

    strike = fault or no_fault
    meter = None if limit is None else Meter(limit, clock)

    async def limited(request: Request) -> Response:
        if meter is None:
            return await mail_send(request)
        answer = await mail_send(request) if meter.take() else refusal(429, [bad_request("too many requests")])
        answer.headers.update(meter.headers())
        return answer

    async def mail_send(request: Request) -> Response:
        if (forbidden := access.refused(request, "mail.send")) is not None:
            return forbidden
        if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
            return refusal(415, [bad_request("Content-Type should be application/json.")])
        body = await _read(request)
        if body is None:
            return refusal(413, [bad_request("The request body must be smaller than 30 MB.")])
        if (broken := await strike("read", body)) is not None:
            return broken
        answer = await run_in_threadpool(_decide, body, log, clock, groups)
        if answer.status_code == 202 and (broken := await strike("accepted", body)) is not None:
            return broken
        return answer

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        log.close()
        records.close()

    return Starlette(
        routes=[Route("/v3/mail/send", limited, methods=["POST"]), *records.routes(access)],
        exception_handlers={HTTPException: _http_error, Exception: _server_error},
        lifespan=lifespan,
    )


def _decide(body: bytes, log: AcceptLog, clock: Clock, groups: frozenset[int] | None) -> Response:
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError:
        return refusal(400, [bad_request("Bad Request" if _is_utf8(body) else "Invalid UTF8 in request.")])
    if found := problems(payload, now=clock.now(), groups=groups):
        return refusal(400, found)
    if is_sandboxed(payload):
        return Response(status_code=200)
    return _accepted(log, body, payload)


def _accepted(log: AcceptLog, body: bytes, payload: Mapping[str, Any]) -> Response:
    message_id = log.accept(body, payload)
    return Response(status_code=202, headers={"X-Message-Id": message_id})


async def _read(request: Request) -> bytes | None:
    """Return the body, None as soon as it is known to be too large."""
    if int(request.headers.get("content-length") or 0) >= MAX_BYTES:
        return None
    chunks, size = [], 0
    async for chunk in request.stream():
        chunks.append(chunk)
        size += len(chunk)
        if size >= MAX_BYTES:
            return None
    return b"".join(chunks)


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


async def _http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = {404: "not found", 405: "POST method allowed only"}.get(error.status_code, error.detail)
    return refusal(error.status_code, [bad_request(message)])


async def _server_error(_request: Request, _error: Exception) -> Response:
    return refusal(500, [bad_request("internal server error")])
