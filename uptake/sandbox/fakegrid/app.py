"""The ASGI app that answers like SendGrid's Web API v3. It never logs what it gets."""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
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
from uptake.sandbox.fakegrid.problem import Problem, bad_request
from uptake.sandbox.fakegrid.validation import MAX_BYTES, is_sandboxed, problems

#: Where a fault strikes: the request is read and nothing happened yet, or it is accepted and nobody knows yet.
Phase = Literal["read", "accepted"]

#: Breaks one request on purpose. A response it returns replaces ours; what it raises cuts the connection.
Fault = Callable[[Phase, bytes], Awaitable[Response | None]]

_WRONG_KEY = "The provided authorization grant is invalid, expired, or revoked"


def create_fakegrid(
    home: Path,
    *,
    clock: Clock,
    api_key: str,
    groups: frozenset[int] | None = None,
    fault: Fault | None = None,
) -> Starlette:
    """Build the app; accepted mail is recorded under `home/fakegrid`.

    Args:
        home: `$UPTAKE_HOME`
        clock: The sandbox's time, for `accepted_at` and `send_at`
        api_key: The only key that is accepted
        groups: The account's unsubscribe groups; None takes any id
        fault: Called in each phase of each request, to test what its caller survives

    Raises:
        SettingsError: another process serves this home
    """
    log = AcceptLog(home, clock)

    async def no_fault(_phase: Phase, _body: bytes) -> Response | None:
        return None

    strike = fault or no_fault

    async def mail_send(request: Request) -> Response:
        if not hmac.compare_digest(request.headers.get("authorization", "").encode(), f"Bearer {api_key}".encode()):
            return _refusal(401, [bad_request(_WRONG_KEY)])
        if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
            return _refusal(415, [bad_request("Content-Type should be application/json.")])
        body = await _read(request)
        if body is None:
            return _refusal(413, [bad_request("The request body must be smaller than 30 MB.")])
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

    return Starlette(
        routes=[Route("/v3/mail/send", mail_send, methods=["POST"])],
        exception_handlers={HTTPException: _http_error, Exception: _server_error},
        lifespan=lifespan,
    )


def _decide(body: bytes, log: AcceptLog, clock: Clock, groups: frozenset[int] | None) -> Response:
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError:
        return _refusal(400, [bad_request("Bad Request" if _is_utf8(body) else "Invalid UTF8 in request.")])
    if found := problems(payload, now=clock.now(), groups=groups):
        return _refusal(400, found)
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


def _refusal(status: int, errors: list[Problem]) -> Response:
    return Response(orjson.dumps({"errors": errors}), status_code=status, media_type="application/json")


async def _http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = {404: "not found", 405: "POST method allowed only"}.get(error.status_code, error.detail)
    return _refusal(error.status_code, [bad_request(message)])


async def _server_error(_request: Request, _error: Exception) -> Response:
    return _refusal(500, [bad_request("internal server error")])
