"""Who may ask what: API keys and their scopes, and SendGrid's error envelope."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping

import orjson
from starlette.requests import Request
from starlette.responses import Response

from uptake.sandbox.fakegrid.problem import Problem, bad_request

Handler = Callable[[Request], Awaitable[Response]]

_WRONG_KEY = "The provided authorization grant is invalid, expired, or revoked"
_NO_SCOPE = "access forbidden"
ALL = frozenset({"*"})


class Access:
    """The account's keys; a key with scope `*` may do everything."""

    def __init__(self, keys: Mapping[str, frozenset[str]]) -> None:
        self._keys = keys

    def refused(self, request: Request, scope: str) -> Response | None:
        """Return why this request may not be made; None when it may."""
        given = request.headers.get("authorization", "").encode()
        scopes = next(
            (scopes for key, scopes in self._keys.items() if hmac.compare_digest(given, f"Bearer {key}".encode())), None
        )
        if scopes is None:
            return refusal(401, [bad_request(_WRONG_KEY)])
        if scope not in scopes and "*" not in scopes:
            return refusal(403, [bad_request(_NO_SCOPE)])
        return None


def guarded(access: Access, scope: str, handler: Handler) -> Handler:
    """Return the handler behind the check of its scope."""

    async def checked(request: Request) -> Response:
        return access.refused(request, scope) or await handler(request)

    return checked


def refusal(status: int, errors: list[Problem]) -> Response:
    """Return an answer in SendGrid's error envelope."""
    return Response(orjson.dumps({"errors": errors}), status_code=status, media_type="application/json")
