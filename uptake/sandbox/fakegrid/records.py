"""The API beside `mail/send`: Email Logs, suppression lists, unsubscribe groups, erasure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from uptake.ports import Clock
from uptake.sandbox.fakegrid.accept_log import AppendLog, erased_path
from uptake.sandbox.fakegrid.access import Access, guarded, refusal
from uptake.sandbox.fakegrid.logs import BadQuery, MailLogs
from uptake.sandbox.fakegrid.problem import bad_request, is_address, problem
from uptake.sandbox.fakegrid.suppressions import GLOBAL, LISTS, MAX_LIMIT, Orders, Suppressions, group_list

_MAX_ERASED, _MAX_ERASE_BYTES = 5_000, 256 * 1024


class Records:
    """What may be asked and told about mail that was accepted, and about its recipients."""

    def __init__(self, home: Path, clock: Clock, logs: MailLogs, groups: frozenset[int] | None) -> None:
        self._clock, self._logs, self._groups = clock, logs, groups
        self._lists, self._orders = Suppressions(home), Orders(home)
        self._erased = AppendLog(erased_path(home))

    def close(self) -> None:
        """Release the files."""
        self._orders.close()
        self._erased.close()

    def routes(self, access: Access) -> list[Route]:
        """Return the routes; each asks for a scope of the API key."""

        def route(path: str, handler: Any, scope: str, *methods: str) -> Route:
            return Route(path, guarded(access, scope, handler), methods=list(methods))

        group = "/v3/asm/groups/{group_id:int}/suppressions"
        return [
            route("/v3/logs", self._search, "messages.read", "POST"),
            route("/v3/logs/{message_id:path}", self._message, "messages.read", "GET"),
            *(route(f"/v3/suppression/{name}", self._list_of(name), "suppression.read", "GET") for name in LISTS),
            route(group, self._group, "asm.groups.suppressions", "GET", "POST"),
            route(f"{group}/search", self._group_search, "asm.groups.suppressions", "POST"),
            route(f"{group}/{{email}}", self._group_delete, "asm.groups.suppressions", "DELETE"),
            route("/v3/asm/suppressions/global", self._global, "asm.groups.suppressions", "POST"),
            route("/v3/recipients/erasejob", self._erase, "recipients.erasejob", "POST"),
        ]

    # --- logs -------------------------------------------------------------------------------------------

    async def _search(self, request: Request) -> Response:
        asked = await _json(request)
        query, limit = asked.get("query", ""), asked.get("limit")
        if not isinstance(query, str) or not (limit is None or type(limit) is int):
            return refusal(400, [bad_request()])
        try:
            return _answer({"messages": self._logs.search(query, limit)})
        except BadQuery as error:
            return refusal(400, [bad_request(str(error), "query")])

    async def _message(self, request: Request) -> Response:
        found = self._logs.message(request.path_params["message_id"])
        if found is None:
            return refusal(404, [bad_request("message not found")])
        return _answer(found)

    # --- suppressions -----------------------------------------------------------------------------------

    def _list_of(self, name: str) -> Any:
        async def handler(request: Request) -> Response:
            asked: dict[str, int] = {}
            for parameter in ("limit", "offset", "start_time", "end_time"):
                given = request.query_params.get(parameter)
                if given is not None:
                    if not given.isdecimal():
                        return refusal(400, [bad_request(f"{parameter} must be a number", parameter)])
                    asked[parameter] = int(given)
            if not 1 <= asked.get("limit", MAX_LIMIT) <= MAX_LIMIT:
                return refusal(400, [bad_request(f"limit must be between 1 and {MAX_LIMIT}", "limit")])
            found = self._lists.entries(
                name,
                start=asked.get("start_time"),
                end=asked.get("end_time"),
                limit=asked.get("limit", MAX_LIMIT),
                offset=asked.get("offset", 0),
            )
            return _answer([entry.as_json() for entry in found])

        return handler

    async def _group(self, request: Request) -> Response:
        group_id: int = request.path_params["group_id"]
        if self._groups is not None and group_id not in self._groups:
            return refusal(404, [bad_request("resource not found")])
        if request.method == "GET":
            found = self._lists.entries(group_list(group_id), limit=10**9)
            return _answer([entry.email for entry in found])
        return await self._add(request, group_list(group_id))

    async def _global(self, request: Request) -> Response:
        return await self._add(request, GLOBAL)

    async def _add(self, request: Request, name: str) -> Response:
        emails = (await _json(request)).get("recipient_emails")
        if not isinstance(emails, list) or not emails:
            return refusal(400, [bad_request("no recipient emails were given", "recipient_emails")])
        if any(not is_address(email) for email in emails):
            return refusal(400, [problem("Does not contain a valid address.", "recipient_emails")])
        self._orders.give("add", name, emails, now=self._clock.now())
        return _answer({"recipient_emails": emails}, status=201)

    async def _group_search(self, request: Request) -> Response:
        emails = (await _json(request)).get("recipient_emails")
        if not isinstance(emails, list) or not all(isinstance(email, str) for email in emails):
            return refusal(400, [bad_request("recipient_emails must be a list", "recipient_emails")])
        found = self._lists.find(group_list(request.path_params["group_id"]), emails)
        return _answer([entry.email for entry in found])

    async def _group_delete(self, request: Request) -> Response:
        name = group_list(request.path_params["group_id"])
        self._orders.give("remove", name, [request.path_params["email"]], now=self._clock.now())
        return Response(status_code=204)

    # --- erasure ----------------------------------------------------------------------------------------

    async def _erase(self, request: Request) -> Response:
        body = await request.body()
        emails = _read(body).get("email_addresses")
        if not isinstance(emails, list) or not emails or any(not is_address(email) for email in emails):
            return refusal(400, [bad_request("invalid email addresses", "email_addresses")])
        if len(emails) > _MAX_ERASED or len(body) > _MAX_ERASE_BYTES:
            return refusal(400, [bad_request(f"at most {_MAX_ERASED} addresses or 256Kb", "email_addresses")])
        job = hashlib.sha256(body).hexdigest()[:32]
        self._erased.append([{"email": email.lower(), "job_id": job, "at": self._clock.now()} for email in emails])
        return _answer({"job_id": job}, status=202)


async def _json(request: Request) -> Mapping[str, Any]:
    return _read(await request.body())


def _read(body: bytes) -> Mapping[str, Any]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _answer(document: Any, *, status: int = 200) -> Response:
    return Response(orjson.dumps(document), status_code=status, media_type="application/json")
