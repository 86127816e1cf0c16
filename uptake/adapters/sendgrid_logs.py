"""Reads SendGrid's Email Logs API: what it took, and which send id each message carries.

A search returns at most 1,000 messages and has no pages, so a span that is full is asked again in halves. Custom
arguments come with a single message only.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx
import orjson

from uptake.adapters.sendgrid import SEND_ID_ARG
from uptake.adapters.sendgrid_api import SendGridApi
from uptake.domain.ids import address_hash
from uptake.errors import LogIncomplete, MailerError
from uptake.ports import LoggedMail

_log = logging.getLogger(__name__)

LIMIT = 1_000
_FINEST = timedelta(seconds=1)  # the query's times are whole seconds


class SendGridLogs:
    """`uptake.ports.MailLog` on SendGrid. Reading is safe to repeat, so rate limits and hiccups are waited out."""

    def __init__(
        self,
        base_url: str,
        api_key: str | None,
        *,
        pseudonym_key: bytes,
        transport: httpx.BaseTransport | None = None,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        """Check the settings; nothing is asked yet. The key needs the scope to read messages. Raises SettingsError."""
        self._key = pseudonym_key
        self._api = SendGridApi(
            base_url, api_key, what="SendGrid's log", may="read the logs", transport=transport, wait=wait
        )

    def close(self) -> None:
        """Close the connections."""
        self._api.close()

    def between(self, since: datetime, until: datetime) -> list[LoggedMail]:
        """Return all that was taken in [since, until). Raises LogIncomplete, MailerError and its kin."""
        start, end = _whole_second(since), _whole_second(until) + _FINEST
        found = self._search(f"{_from(start)} AND {_to(end)}")
        if len(found) < LIMIT:
            return found
        if end - start <= _FINEST:
            raise LogIncomplete(f"{LIMIT} messages or more within the second of {start:%Y-%m-%d %H:%M:%S}: SendGrid's "
                                "log cannot list them all")  # fmt: skip
        middle = _whole_second(start + (end - start) / 2)
        return [*self.between(start, middle - _FINEST), *self.between(middle, end - _FINEST)]

    def to_address(self, address: str, since: datetime) -> list[LoggedMail]:
        """Return what was taken for one address since. Raises MailerError and its kin."""
        if "'" in address or '"' in address or "\\" in address:
            return []  # cannot be said in a query; stays without evidence
        return self._search(f"to_email = '{address}' AND {_from(_whole_second(since))}")

    def evidence(self, mails: Sequence[LoggedMail]) -> bytes:
        """Return the events of those that are ours, as a webhook body. Raises MailerError and its kin."""
        events: list[dict[str, Any]] = []
        for mail in mails:
            details = self._ask("GET", f"/v3/logs/{quote(mail.message_id, safe='')}")
            send_id = (details.get("custom_args") or {}).get(SEND_ID_ARG) if details else None
            if details and isinstance(send_id, str):
                # It is in the log, so it was taken: said first, whatever events are listed.
                taken = {"event": "processed", "email": details.get("to_email"), "timestamp": _seconds(mail.logged_at)}
                told = [event for event in details.get("events") or [] if isinstance(event, dict)]
                for event in (taken, *(event for event in told if event.get("event") != "received")):
                    plain = {name: value for name, value in event.items() if name != "custom_args"}
                    events.append({**plain, SEND_ID_ARG: send_id, "sg_message_id": mail.message_id})
        return orjson.dumps(events)

    def _search(self, query: str) -> list[LoggedMail]:
        answer = self._ask("POST", "/v3/logs", {"query": query, "limit": LIMIT}) or {}
        found = []
        for message in answer.get("messages") or []:
            try:
                logged_at = datetime.fromisoformat(str(message["sg_message_id_created_at"]))
                found.append(
                    LoggedMail(
                        message_id=str(message["sg_message_id"]),
                        address_hash=address_hash(self._key, str(message["to_email"])),
                        logged_at=logged_at if logged_at.tzinfo else logged_at.replace(tzinfo=UTC),
                    )
                )
            except (KeyError, TypeError, ValueError) as error:
                raise MailerError("SendGrid's log gave an entry without id, address or time") from error
        return found

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any] | None:
        """Return the answer; None for a message that is gone (older than the log keeps)."""
        content = self._api.ask(method, path, body, gone=(404,) if method == "GET" else ())
        if content is None:
            return None
        found = self._api.document(content)
        if not isinstance(found, dict):
            raise MailerError("SendGrid's log answered no JSON object")
        return found


def _whole_second(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(microsecond=0)


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def _from(moment: datetime) -> str:
    return f'sg_message_id_created_at >= TIMESTAMP "{moment:%Y-%m-%dT%H:%M:%SZ}"'


def _to(moment: datetime) -> str:
    return f'sg_message_id_created_at < TIMESTAMP "{moment:%Y-%m-%dT%H:%M:%SZ}"'
