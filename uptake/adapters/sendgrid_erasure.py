"""Asks SendGrid to erase what it keeps of an address: `POST /v3/recipients/erasejob`."""

from __future__ import annotations

import httpx
import orjson

from uptake.adapters.sendgrid import check_base_url
from uptake.errors import MailerError, MailerUnavailable, SendingForbidden, SettingsError


class SendGridEraser:
    """`uptake.ports.MailEraser` on SendGrid. Asking twice is safe."""

    def __init__(self, base_url: str, api_key: str | None, *, transport: httpx.BaseTransport | None = None) -> None:
        """Check the settings; the key needs the scope recipients.erasejob. Raises SettingsError."""
        check_base_url(base_url)
        if not api_key:
            raise SettingsError("there is no API key to have SendGrid erase with; set SENDGRID_API_KEY")
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

    def erase(self, address: str) -> str:
        """Order the job; return its id. Raises MailerUnavailable, SendingForbidden or MailerError."""
        body = orjson.dumps({"email_addresses": [address]})
        try:
            response = self._client.post("/v3/recipients/erasejob", content=body)
        except httpx.HTTPError as error:
            raise MailerUnavailable(f"SendGrid cannot be reached ({type(error).__name__})") from error
        match response.status_code:
            case 202:
                return _job(response.content)
            case 401 | 403 as status:
                raise SendingForbidden(f"SendGrid answered {status}: this key may not erase recipients")
            case 429 | 500 | 502 | 503 | 504 as status:
                raise MailerUnavailable(f"SendGrid answered {status}")
            case status:
                raise MailerError(f"SendGrid answered {status} to an erasure; expected 202")


def _job(content: bytes) -> str:
    try:
        found = orjson.loads(content)
    except ValueError:
        return ""
    return str(found.get("job_id", "")) if isinstance(found, dict) else ""
