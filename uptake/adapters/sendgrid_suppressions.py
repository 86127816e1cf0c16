"""SendGrid's lists of whom it mails no more: bounces, complaints, invalid addresses, unsubscribes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import httpx

from uptake.adapters.sendgrid_api import SendGridApi
from uptake.domain.sends import SuppressionReason
from uptake.errors import MailerError

PAGE = 500
#: Pages shift by one when somebody is taken off while they are read; so they overlap, and a whole page may go.
OVERLAP = 50
_ADDED_AT_ONCE = 1_000
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
        self._api = SendGridApi(
            base_url,
            api_key,
            what="SendGrid's suppressions",
            may="read and add suppressions",
            transport=transport,
            wait=wait,
        )

    def close(self) -> None:
        """Close the connections."""
        self._api.close()

    def of_everything(self, reason: SuppressionReason) -> set[str]:
        """Return the addresses, in lower case, that get nothing for this reason."""
        found: set[str] = set()
        offset = 0
        while True:
            page = self._listed(f"/v3/suppression/{_LISTS[reason]}?limit={PAGE}&offset={offset}")
            found |= {_address(entry.get("email") if isinstance(entry, dict) else None) for entry in page}
            if len(page) < PAGE:
                return found
            offset += PAGE - OVERLAP

    def of_group(self, group: int) -> set[str]:
        """Return the addresses, in lower case, that left one unsubscribe group."""
        return {_address(entry) for entry in self._listed(f"/v3/asm/groups/{group}/suppressions")}

    def add(self, addresses: Sequence[str], *, group: int | None) -> None:
        """Put addresses on the list of a group, or of everything (None)."""
        path = "/v3/asm/suppressions/global" if group is None else f"/v3/asm/groups/{group}/suppressions"
        for start in range(0, len(addresses), _ADDED_AT_ONCE):
            some = list(addresses[start : start + _ADDED_AT_ONCE])
            self._api.ask("POST", path, {"recipient_emails": some}, expected=(200, 201))

    def _listed(self, path: str) -> list[Any]:
        found = self._api.document(self._api.ask("GET", path) or b"")
        if not isinstance(found, list):
            raise MailerError("SendGrid's suppressions are no list")
        return found


def _address(found: Any) -> str:
    if not isinstance(found, str):
        raise MailerError("SendGrid's suppressions hold an entry without an address")
    return found.strip().lower()
