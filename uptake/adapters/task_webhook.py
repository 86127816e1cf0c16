"""Posts tasks to the webhook that the workspace names, signed as the Standard Webhooks specification says.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md: `webhook-signature` is `v1,`
and the base64 of HMAC-SHA256 over `<webhook-id>.<webhook-timestamp>.<body>`. The address is a person's setting, the
secret comes from the environment; neither is ever quoted.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import datetime
from urllib.parse import urlsplit

import httpx
from pydantic import SecretStr

from uptake.adapters.sendgrid import is_loopback
from uptake.errors import SettingsError, TaskNotTaken

_PREFIX = "whsec_"  # of a secret in the specification's own form: base64 follows
_DOWN = frozenset({408, 429})
_TIMEOUT = 10.0


class TaskWebhook:
    """`uptake.ports.TaskReceiver` over HTTP: https, or plain http on the loopback."""

    def __init__(self, url: str, secret: SecretStr | None, *, only_loopback: str | None = None) -> None:
        """Check the settings; nothing is posted yet.

        Args:
            url: Where to.
            secret: What the receiver checks signatures with; `whsec_` and base64, or any text.
            only_loopback: Why nothing may leave this machine, if so.

        Raises SettingsError.
        """
        parts = urlsplit(url)
        if not parts.hostname or (parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(url))):
            raise SettingsError("the task webhook is no https:// address (http:// only on the loopback)")
        if parts.username or parts.password:
            raise SettingsError("the task webhook's address holds a name or a password; its posts are signed instead")
        if only_loopback is not None and not is_loopback(url):
            raise SettingsError(f"tasks are posted to the loopback alone: {only_loopback}")
        text = "" if secret is None else secret.get_secret_value()
        if not text:
            raise SettingsError("the task webhook has no secret; set UPTAKE_TASK_WEBHOOK_SECRET")
        try:
            is_encoded = text.startswith(_PREFIX)
            self._secret = base64.b64decode(text[len(_PREFIX) :], validate=True) if is_encoded else text.encode()
        except ValueError as error:
            raise SettingsError("UPTAKE_TASK_WEBHOOK_SECRET is no base64 behind its `whsec_`") from error
        self._url = url
        self._client = httpx.Client(timeout=_TIMEOUT, follow_redirects=False, trust_env=False)

    def post(self, body: bytes, *, key: str, at: datetime) -> None:
        """Post one document; any 2xx means that it was taken. Raises TaskNotTaken; no answer is quoted."""
        stamp = str(int(at.timestamp()))
        headers = {
            "content-type": "application/json",
            "webhook-id": key,
            "webhook-timestamp": stamp,
            "webhook-signature": f"v1,{sign(self._secret, key, stamp, body)}",
        }
        try:
            # The answer is nobody's business, and might never end: only its first line is read.
            with self._client.stream("POST", self._url, content=body, headers=headers) as response:
                status = response.status_code
        except httpx.HTTPError as error:
            raise TaskNotTaken(f"cannot be reached ({type(error).__name__})", is_down=True) from error
        if not 200 <= status < 300:
            raise TaskNotTaken(f"answered {status}", is_down=status >= 500 or status in _DOWN)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def sign(secret: bytes, key: str, stamp: str, body: bytes) -> str:
    """Return the base64 of HMAC-SHA256 over id, timestamp and body."""
    signed = b".".join((key.encode(), stamp.encode(), body))
    return base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()
