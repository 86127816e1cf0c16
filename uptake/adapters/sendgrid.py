"""Speaks SendGrid's `POST /v3/mail/send`: builds one body for many people, posts it once, says what is certain.

The SDK builds what the recipients of a request share; the HTTP goes through httpx, because only there it can be told
whether bytes had left.
It never tries again: what may be repeated is decided by `uptake.operations.send`.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson
from sendgrid.helpers import mail as sg

from uptake import failpoints
from uptake.adapters.clock import SystemClock
from uptake.adapters.mail_values import ValueMissing, display_name, header, is_address
from uptake.adapters.templates import Blocks, CompiledMail, compile_release
from uptake.domain.eligibility import Reason
from uptake.domain.workspace import Sender
from uptake.errors import (
    AcceptanceUnknown,
    MailerUnavailable,
    MessageRefused,
    SendingForbidden,
    SettingsError,
    UnexpectedAnswer,
)
from uptake.ports import Clock, MailBatch, Recipient, Rendered

#: Carries the send id to SendGrid and back; no reserved word of an event, which would silently win.
SEND_ID_ARG = "uptake_send_id"
#: SendGrid's limit for the substitutions of one person; beyond it a message goes alone.
MAX_SUBSTITUTION_BYTES = 10_000
MAX_PERSONALIZATIONS = 1_000

_NAMED_ADDRESS = re.compile(r"^personalizations\.(\d+)\.to(\.\d+(\.email)?)?$")  # not the name in it
_ADDRESS = re.compile(r"[^\s@<>\"']+@[^\s@<>\"']+")
_MAX_BODY_READ = 64 * 1024
_LONGEST_READ = 30.0  # seconds for an answer that is no acceptance
_LONGEST_PAUSE = 60.0
_LONGEST_WINDOW = 3_600.0  # a reset further ahead is no moment in seconds: SendGrid's windows are minutes
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)

_Filled = tuple[Recipient, Blocks, str]  # the last is where they unsubscribe, fit for a header


class SendGridMailer:
    """The mail service, for one API key."""

    def __init__(
        self,
        base_url: str,
        api_key: str | None,
        *,
        sandbox: bool = False,
        track_opens: bool = False,
        track_clicks: bool = False,
        timeout: httpx.Timeout | None = None,
        transport: httpx.BaseTransport | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Check the settings; nothing is sent yet.

        Args:
            base_url: `https://api.sendgrid.com`, its EU twin, or a stand-in on the loopback.
            api_key: A key with the scope mail.send.
            sandbox: Let the service validate only; it answers 200 and sends to nobody.
            track_opens: Put SendGrid's pixel in; off, because outcomes are product usage.
            track_clicks: Let SendGrid rewrite links.
            timeout: Seconds for connect, write, read and pool.
            transport: Another transport, for tests.
            clock: Tells how far away a rate limit's reset is.

        Raises SettingsError.
        """
        check_base_url(base_url)
        if not api_key:
            raise SettingsError("SENDGRID_API_KEY is not set; expected a SendGrid API key with the scope mail.send")
        if not (api_key.isascii() and api_key.isprintable()) or " " in api_key:
            raise SettingsError("SENDGRID_API_KEY holds a space, a line break or another character no key has")
        self.sandbox = sandbox
        self._tracking = (track_opens, track_clicks)
        self._clock = clock or SystemClock()
        self._count_refusals = 0  # 429 in a row, for pauses that grow
        self.seconds_to_wait = 0.0
        self._client = httpx.Client(
            base_url=base_url,
            headers={"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"},
            timeout=timeout or httpx.Timeout(connect=10, write=30, read=30, pool=10),
            # A kept connection that the server closes at the same moment looks like a lost answer: keep them short.
            limits=httpx.Limits(max_connections=4, max_keepalive_connections=4, keepalive_expiry=5),
            follow_redirects=False,
            trust_env=False,
            transport=transport,
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def render(self, batch: MailBatch) -> Rendered:
        """Build the request body of as many recipients as fit. Raises PlaybookError for a broken text."""
        compiled = compile_release(batch.release, batch.stage_key)
        filled: list[_Filled] = []
        addresses: set[str] = set()
        refused: dict[str, Reason] = {}
        alone = False
        for recipient in batch.recipients:
            if not is_address(recipient.address):
                refused[recipient.send_id] = Reason.LEFT
                continue
            if recipient.address.lower() in addresses:
                continue  # SendGrid refuses a request that holds an address twice
            try:
                url = header(recipient.unsubscribe_url)
                blocks = compiled.fill(recipient.fields, unsubscribe_url=url)
            except ValueMissing:
                refused[recipient.send_id] = Reason.VALUE_MISSING
                continue
            if blocks.count_bytes > MAX_SUBSTITUTION_BYTES:
                if filled:
                    continue
                alone = True
            filled.append((recipient, blocks, url))
            addresses.add(recipient.address.lower())
            if alone or len(filled) == MAX_PERSONALIZATIONS:
                break
        body = orjson.dumps(self._payload(batch, compiled, filled, alone=alone)) if filled else b""
        return Rendered(
            body=body,
            body_hash=hashlib.sha256(body).hexdigest(),
            send_ids=tuple(recipient.send_id for recipient, _, _ in filled),
            refused=refused,
        )

    def post(self, rendered: Rendered) -> str | None:
        """Send it, once; return `X-Message-Id`, if SendGrid gave one.

        Decided on the status line, so that a 202 counts even when the connection breaks right after it. Raises
        MailerUnavailable, AcceptanceUnknown, UnexpectedAnswer, MessageRefused or SendingForbidden.
        """
        self.seconds_to_wait = 0.0
        try:
            content, length = failpoints.in_halves(rendered.body), {"Content-Length": str(len(rendered.body))}
            with self._client.stream("POST", "/v3/mail/send", content=content, headers=length) as response:
                failpoints.at("post: status read")
                if response.status_code == (200 if self.sandbox else 202):
                    self._count_refusals = 0
                    self.seconds_to_wait = self._until_reset(response.headers, of_used_up=True)
                    if response.headers.get("content-length") == "0":
                        response.read()  # so that the connection can serve the next request
                    message_id: str | None = response.headers.get("X-Message-Id")
                    failpoints.at("post: answered")
                    return message_id
                text = _read(response)
        except _NOT_SENT as error:
            raise MailerUnavailable(f"SendGrid cannot be reached ({type(error).__name__})") from error
        except httpx.HTTPError as error:
            raise AcceptanceUnknown(f"no whole answer from SendGrid ({type(error).__name__})") from error
        raise self._classify(response, text)

    def _classify(self, response: httpx.Response, text: bytes) -> Exception:
        """Return the error that says what is certain after a whole answer that is no acceptance."""
        status = response.status_code
        errors = _errors(text)
        said = f"SendGrid answered {status}: {'; '.join(message for message, _ in errors) or 'no reason given'}"
        match status:
            case 429:
                return MailerUnavailable(said, retry_after=self._retry_after(response.headers))
            case 401 | 403:
                return SendingForbidden(said)
            case 400:
                named = (int(match[1]) for _, field in errors if (match := _NAMED_ADDRESS.match(field)))
                return MessageRefused(said, recipient=next(named, None))
            case 404 | 405 | 413:
                return MessageRefused(said)
            case _ if status >= 500:
                return AcceptanceUnknown(said)
            case _:
                return UnexpectedAnswer(f"{said}; expected 202")

    def _retry_after(self, headers: Mapping[str, str]) -> float:
        """Return how long to wait, from the headers or, without any that lies ahead, growing to a minute."""
        self._count_refusals += 1
        if wait := self._until_reset(headers, of_used_up=False):
            return wait
        after = _number(headers.get("Retry-After"))
        if after is not None and 0 < after <= _LONGEST_WINDOW:
            return after
        return min(_LONGEST_PAUSE, 2.0**self._count_refusals)

    def _until_reset(self, headers: Mapping[str, str], *, of_used_up: bool) -> float:
        """Return the seconds to a limit's reset, 0 when the headers name none to believe.

        With `of_used_up` only when nothing remains until then. Headers may be absent or wrong: nothing is concluded
        from a moment that is over, or further ahead than any window.
        """
        remaining, reset = _number(headers.get("X-RateLimit-Remaining")), _number(headers.get("X-RateLimit-Reset"))
        if reset is None or (of_used_up and (remaining is None or remaining > 0)):
            return 0.0
        wait = reset - self._clock.now().timestamp()
        return wait if 0 < wait <= _LONGEST_WINDOW else 0.0

    def _payload(
        self, batch: MailBatch, compiled: CompiledMail, filled: list[_Filled], *, alone: bool
    ) -> dict[str, Any]:
        workspace = batch.release.workspace
        html, text = compiled.whole(filled[0][1]) if alone else (compiled.html, compiled.text)
        message = sg.Mail()
        message.from_email = _mailbox(sg.From, workspace.sender)
        if workspace.reply_to is not None:
            message.reply_to = _mailbox(sg.ReplyTo, workspace.reply_to)
        message.add_content(sg.Content("text/plain", text))
        message.add_content(sg.Content("text/html", html))
        message.add_category(sg.Category(batch.release.name))
        message.asm = sg.Asm(workspace.topics[batch.release.playbook.topic])
        opens, clicks = self._tracking
        message.tracking_settings = sg.TrackingSettings(
            click_tracking=sg.ClickTracking(clicks, False),
            open_tracking=sg.OpenTracking(opens),
            # On, it would put its own unsubscribe headers in the place of ours, and unsubscribe from everything.
            subscription_tracking=sg.SubscriptionTracking(False),
        )
        if self.sandbox:
            message.mail_settings = sg.MailSettings(sandbox_mode=sg.SandBoxMode(True))
        payload: dict[str, Any] = message.get()
        payload["personalizations"] = [_personalization(*one, inline=alone) for one in filled]
        return payload


def _personalization(recipient: Recipient, blocks: Blocks, unsubscribe_url: str, *, inline: bool) -> dict[str, Any]:
    """Return what is one person's own. Built by hand: the SDK's objects cost six times as much, for every person."""
    name = display_name(recipient.full_name)
    personalization: dict[str, Any] = {
        "to": [{"email": recipient.address} if name is None else {"email": recipient.address, "name": name}],
        "subject": blocks.subject,
        "custom_args": {SEND_ID_ARG: recipient.send_id},
        "headers": {
            "List-Unsubscribe": f"<{unsubscribe_url}>",
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        },
    }
    if not inline:
        personalization["substitutions"] = blocks.substitutions
    return personalization


def _mailbox(kind: type[Any], sender: Sender) -> Any:
    mailbox = kind()
    mailbox.email, mailbox.name = sender.address, display_name(sender.name)
    return mailbox


def is_loopback(base_url: str) -> bool:
    """Return whether this address stays on this machine."""
    host = urlsplit(base_url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_base_url(base_url: str) -> None:
    """Take https, and plain http on the loopback only. Raises SettingsError."""
    parts = urlsplit(base_url)
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(base_url))
    if not parts.hostname or not is_safe:
        raise SettingsError(
            f"UPTAKE_SENDGRID_BASE_URL leads to {parts.scheme or 'nothing'}://{parts.hostname or ''}; "
            "expected https:// (http:// only on the loopback)"
        )


def _read(response: httpx.Response) -> bytes:
    """Read the answer, but not more than anybody needs of it, nor longer: a time-out only counts between two bytes."""
    text, deadline = b"", time.monotonic() + _LONGEST_READ
    for chunk in response.iter_bytes():
        text += chunk
        if len(text) > _MAX_BODY_READ:
            break
        if time.monotonic() > deadline:
            raise httpx.ReadTimeout("the answer comes too slowly")
    return text


def _errors(text: bytes) -> list[tuple[str, str]]:
    """Return (message, field) of each error of the envelope; none when the answer is no such envelope."""
    try:
        found = orjson.loads(text)["errors"]
        return [
            (_ADDRESS.sub("[address]", str(error.get("message") or ""))[:300], str(error.get("field") or ""))
            for error in found
        ]
    except (ValueError, LookupError, TypeError, AttributeError):
        return []


def _number(value: str | None) -> float | None:
    try:
        return None if value is None else float(value)
    except ValueError:
        return None
