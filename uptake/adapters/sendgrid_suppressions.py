"""SendGrid's lists of whom it mails no more: bounces, complaints, invalid addresses, unsubscribes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import httpx
import orjson

from uptake.adapters.sendgrid import check_base_url
from uptake.domain.sends import SuppressionReason
from uptake.errors import MailerError, MailerUnavailable, SendingForbidden, SettingsError

PAGE = 500
#: Pages shift by one when somebody is taken off while they are read; so they overlap, and a whole page may go.
OVERLAP = 50
_ADDED_AT_ONCE = 1_000
_TRIES, _LONGEST_WAIT = 4, 30.0
_LISTS = {
    SuppressionReason.BOUNCED: "bounces",
    SuppressionReason.COMPLAINED: "spam_reports",
    SuppressionReason.INVALID: "invalid_emails",
    SuppressionReason.UNSUBSCRIBED: "unsubscribes",
}


class SendGridSuppressions:
    """`uptake.ports.SuppressionLists` on SendGrid. Every call may be repeated, so hiccups are waited out."""

    def __init__(
        self,
        base_url: str,
        api_key: str | None,
        *,
        transport: httpx.BaseTransport | None = None,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        """Check the settings; the key needs the scopes suppression.read and asm.groups.suppressions.

        Raises SettingsError.
        """
        check_base_url(base_url)
        if not api_key:
            raise SettingsError("there is no API key to read SendGrid's suppressions with; set SENDGRID_API_KEY")
        self._wait = wait
        self._client = httpx.Client(
            base_url=base_url,
            headers={"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"},
            timeout=httpx.Timeout(30),
            follow_redirects=False,
            trust_env=False,
            transport=transport,
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def of_everything(self, reason: SuppressionReason) -> set[str]:
        """Return the addresses, in lower case, that get nothing for this reason."""
        found: set[str] = set()
        offset = 0
        while True:
            page = self._ask("GET", f"/v3/suppression/{_LISTS[reason]}?limit={PAGE}&offset={offset}")
            found |= {_address(entry.get("email") if isinstance(entry, dict) else None) for entry in _list(page)}
            if len(page) < PAGE:
                return found
            offset += PAGE - OVERLAP

    def of_group(self, group: int) -> set[str]:
        """Return the addresses, in lower case, that left one unsubscribe group."""
        return {_address(entry) for entry in _list(self._ask("GET", f"/v3/asm/groups/{group}/suppressions"))}

    def add(self, addresses: Sequence[str], *, group: int | None) -> None:
        """Put addresses on the list of a group, or of everything (None)."""
        path = "/v3/asm/suppressions/global" if group is None else f"/v3/asm/groups/{group}/suppressions"
        for start in range(0, len(addresses), _ADDED_AT_ONCE):
            self._ask("POST", path, {"recipient_emails": list(addresses[start : start + _ADDED_AT_ONCE])})

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        trouble = ""
        for attempt in range(_TRIES):
            if attempt:
                self._wait(min(_LONGEST_WAIT, 2.0**attempt))
            try:
                response = self._client.request(method, path, content=None if body is None else orjson.dumps(body))
            except httpx.HTTPError as error:
                trouble = f"SendGrid's suppressions cannot be reached ({type(error).__name__})"
                continue
            match response.status_code:
                case 200 | 201:
                    return _document(response.content)
                case 401 | 403 as status:
                    raise SendingForbidden(f"SendGrid answered {status}: this key may not read or add suppressions")
                case 429 | 500 | 502 | 503 | 504 as status:
                    trouble = f"SendGrid's suppressions answered {status}"
                case status:
                    raise MailerError(
                        f"SendGrid answered {status} to {method} {path.split('?')[0]}; expected 200 or 201"
                    )
        raise MailerUnavailable(trouble)


def _document(content: bytes) -> Any:
    try:
        return orjson.loads(content)
    except ValueError as error:
        raise MailerError("SendGrid's suppressions are not JSON") from error


def _list(document: Any) -> list[Any]:
    if not isinstance(document, list):
        raise MailerError("SendGrid's suppressions are no list")
    return document


def _address(found: Any) -> str:
    if not isinstance(found, str):
        raise MailerError("SendGrid's suppressions hold an entry without an address")
    return found.strip().lower()
