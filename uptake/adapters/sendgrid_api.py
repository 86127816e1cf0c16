"""One request to SendGrid's API beside `mail/send`, and what its answer means. All of them may be repeated."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Any

import httpx
import orjson

from uptake.adapters.sendgrid import check_base_url
from uptake.errors import MailerError, MailerUnavailable, SendingForbidden, SettingsError

_LONGEST_WAIT = 30.0
_LATER = frozenset({429, 500, 502, 503, 504})


class SendGridApi:
    """A client for one API key. Hiccups and rate limits are waited out, `tries` times."""

    def __init__(
        self,
        base_url: str,
        api_key: str | None,
        *,
        what: str,
        may: str,
        tries: int = 4,
        transport: httpx.BaseTransport | None = None,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        """Check the settings; nothing is asked yet.

        Args:
            base_url: `https://api.sendgrid.com`, its EU twin, or a stand-in on the loopback.
            api_key: A key with the scope for what is asked.
            what: Whom errors are about, e.g. `SendGrid's log`.
            may: What the key must be allowed to do, e.g. `read the logs`.
            tries: How often one question is asked before it is given up.
            transport: Another transport, for tests.
            wait: Waits so many seconds.

        Raises SettingsError.
        """
        check_base_url(base_url)
        if not api_key:
            raise SettingsError(f"there is no API key to {may}; set SENDGRID_API_KEY")
        self._what, self._may = what, may
        self._tries, self._wait = tries, wait
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

    def ask(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        expected: Collection[int] = (200,),
        gone: Collection[int] = (),
    ) -> bytes | None:
        """Return what was answered; None when it is gone (`gone`: the statuses that say so).

        Raises MailerUnavailable, SendingForbidden (this key may not) or MailerError. No answer is quoted: it may hold
        addresses.
        """
        trouble = ""
        for attempt in range(self._tries):
            if attempt:
                self._wait(min(_LONGEST_WAIT, 2.0**attempt))
            try:
                response = self._client.request(method, path, content=None if body is None else orjson.dumps(body))
            except httpx.HTTPError as error:
                trouble = f"{self._what} cannot be reached ({type(error).__name__})"
                continue
            status = response.status_code
            if status in expected:
                return response.content
            if status in gone:
                return None
            if status in (401, 403):
                raise SendingForbidden(f"SendGrid answered {status}: this key may not {self._may}")
            if status not in _LATER:
                wanted = " or ".join(map(str, expected))
                raise MailerError(f"{self._what} answered {status}; expected {wanted}")
            trouble = f"{self._what} answered {status}"
        raise MailerUnavailable(trouble)

    def document(self, content: bytes) -> Any:
        """Read an answer as JSON. Raises MailerError."""
        try:
            return orjson.loads(content)
        except ValueError as error:
            raise MailerError(f"{self._what} answered something that is not JSON") from error
