"""Asks SendGrid to erase what it keeps of an address: `POST /v3/recipients/erasejob`."""

from __future__ import annotations

import httpx

from uptake.adapters.sendgrid_api import SendGridApi
from uptake.errors import MailerError


class SendGridEraser:
    """`uptake.ports.MailEraser` on SendGrid. A person waits for the answer and may ask again, so it is tried once."""

    def __init__(self, base_url: str, api_key: str | None, *, transport: httpx.BaseTransport | None = None) -> None:
        """Check the settings; the key needs the scope recipients.erasejob. Raises SettingsError."""
        self._api = SendGridApi(
            base_url, api_key, what="SendGrid", may="erase recipients", tries=1, transport=transport
        )

    def close(self) -> None:
        """Close the connections."""
        self._api.close()

    def erase(self, address: str) -> str:
        """Order the job; return its id. Raises MailerUnavailable, SendingForbidden or MailerError."""
        content = self._api.ask("POST", "/v3/recipients/erasejob", {"email_addresses": [address]}, expected=(202,))
        try:
            found = self._api.document(content or b"")
        except MailerError:
            return ""  # it was taken: that the job has no name takes nothing back
        return str(found.get("job_id", "")) if isinstance(found, dict) else ""
