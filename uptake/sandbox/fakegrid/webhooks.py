"""Delivery events: what happens to accepted mail, posted to the event webhook as SendGrid posts it.

Everything an accepted mail leads to follows from the accept log, the recipients' reactions and the sandbox's time, so
after a kill the same events come out again; those that were acknowledged are known from `posted.jsonl`. A kill
between an acknowledgement and its record repeats one batch, as SendGrid itself does. What is refused is tried again at
growing intervals of the sandbox's time, and is lost after a day.
"""

from __future__ import annotations

import base64
import hashlib
import heapq
import ipaddress
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

import httpx
import orjson

from uptake.errors import SettingsError
from uptake.sandbox.fakegrid.accept_log import AppendLog, Tail, accepted_path, moment, posted_path
from uptake.sandbox.fakegrid.disorder import Disorder
from uptake.sandbox.fakegrid.logs import whole_message_id
from uptake.sandbox.fakegrid.signing import SIGNATURE_HEADER, TIMESTAMP_HEADER, sign, signing_key
from uptake.sandbox.fakegrid.suppressions import GLOBAL, Suppressions, group_list

MAX_BATCH_BYTES = 768 * 1024
FIRST_WAIT, LONGEST_WAIT = timedelta(minutes=1), timedelta(hours=4)  # between two tries; each is twice the one before
GIVES_UP_AFTER = timedelta(hours=24)

# Written as SendGrid writes them; the line ends belong to the signed bytes.
_OPEN, _BETWEEN, _CLOSE = b"[", b",\r\n", b"]\r\n"

_USUAL_FIELDS: Mapping[str, Mapping[str, Any]] = {
    "delivered": {"response": "250 OK", "tls": 1},
    "deferred": {"response": "400 try again later", "attempt": "1"},
    "bounce": {"reason": "500 unknown recipient", "status": "5.0.0", "type": "bounce"},
    "open": {"useragent": "Mozilla/5.0", "ip": "127.0.0.1", "sg_machine_open": False, "sg_content_type": "html"},
    "click": {"useragent": "Mozilla/5.0", "ip": "127.0.0.1"},
}


@dataclass(frozen=True, kw_only=True)
class Reaction:
    """One thing that happens to an accepted mail: an event, or something its recipient does."""

    delay: timedelta = timedelta(0)  #: counted from accepted_at
    event: str = ""  #: SendGrid's name, e.g. `delivered`; empty for an action
    fields: Mapping[str, Any] = field(default_factory=dict)  #: more fields of the event, e.g. `url` of a click
    action: Literal["one_click"] | None = None  #: POST to the mail's List-Unsubscribe address


class Recipients(Protocol):
    """The people at the other end."""

    def reactions(self, accepted: Mapping[str, Any]) -> Iterable[Reaction]:
        """Return all that one accepted mail leads to, `processed` included, in any order.

        `accepted` is a line of the accept log: send_id, to, accepted_at (ISO 8601), message_id, subject, links,
        categories, custom_args, group_id, unsubscribe_url. The answer must depend on it alone: after a restart it
        is asked for again.
        """


class Postmaster:
    """The default: every mail is processed and delivered, and nobody reacts."""

    def reactions(self, accepted: Mapping[str, Any]) -> Iterable[Reaction]:  # noqa: ARG002
        """Return processed, then delivered."""
        return (Reaction(event="processed"), Reaction(event="delivered", delay=timedelta(seconds=2)))


@dataclass(frozen=True, order=True)
class _Due:
    """Something that will happen; ties are broken by when it became known."""

    at: datetime
    number: int
    line: Mapping[str, Any] = field(compare=False)
    reaction: Reaction | None = field(compare=False)  #: None: the mail itself arrives at the service
    key: str = field(compare=False)  #: the same after every restart


class EventPoster:
    """Posts due events to the webhook. One per home; use it from one thread."""

    def __init__(
        self,
        home: Path,
        webhook_url: str,
        recipients: Recipients | None = None,
        *,
        client: httpx.Client | None = None,
        disorder: Disorder | None = None,
    ) -> None:
        """Open the accept log of `home`. Raises SettingsError when the webhook is not on this machine."""
        self._webhook_url = _loopback(webhook_url, "the event webhook")
        self._recipients = recipients or Postmaster()
        self._client = client or httpx.Client(timeout=30, trust_env=False)
        self._key = signing_key(home)
        self._accepted = Tail(accepted_path(home))
        self._posted_log = AppendLog(posted_path(home))
        self._posted = {line["key"] for line in Tail(posted_path(home)).read_new()}
        self._lists = Suppressions(home)
        self._heap: list[_Due] = []
        self._events: deque[_Due] = deque()  # happened, not acknowledged
        self._actions: deque[_Due] = deque()
        self._suppressed: dict[tuple[str, int | None], tuple[str, datetime]] = {}
        self._numbers = count()
        self._disorder = disorder
        self._down_since: datetime | None = None  # the webhook's first refusal since its last 2xx
        self._wait = timedelta(0)
        self.tries_again_at: datetime | None = None  #: nothing is posted before

    def post_due(self, now: datetime) -> int:
        """Post everything that has happened by `now`; return how much was acknowledged.

        What is refused or unreachable is tried again at the next call, then after a minute, two, four ... up to four
        hours; what happened a day ago, and was refused for a day, is lost.
        """
        for line in self._accepted.read_new():
            self._push(_Due(moment(line), next(self._numbers), line, None, ""))
        while self._heap and self._heap[0].at <= now:
            self._happen(heapq.heappop(self._heap))
        return self._post_events(now) + self._perform_actions(now)

    def close(self) -> None:
        """Release the connection and the record of what was posted."""
        self._client.close()
        self._posted_log.close()

    # --- what happens -----------------------------------------------------------------------------------

    def _push(self, due: _Due) -> None:
        heapq.heappush(self._heap, due)

    def _happen(self, due: _Due) -> None:
        if due.reaction is None:
            self._arrive(due)
            return
        self._learn(due)
        if due.key in self._posted:
            return
        (self._actions if due.reaction.action else self._events).append(due)

    def _arrive(self, due: _Due) -> None:
        reason = self._drop_reason(due.line)
        if reason is None:
            reactions = list(self._recipients.reactions(due.line))
        else:
            reactions = [Reaction(event="dropped", fields={"reason": reason, "status": "5.0.0"})]
        for index, reaction in enumerate(reactions):
            at = due.at + max(reaction.delay, timedelta(0))
            self._push(_Due(at, next(self._numbers), due.line, reaction, _key(due.line, reaction, index)))

    def _drop_reason(self, line: Mapping[str, Any]) -> str | None:
        """Tell why the service itself will not deliver: it remembers bounces, complaints and unsubscribes."""
        address = line["to"].lower()
        for group in (None, line["group_id"]):
            reason, since = self._suppressed.get((address, group), ("", None))
            # Strictly before: a live run and a replay after a kill must agree, in whatever order they saw a tie.
            if since is not None and since < moment(line):
                return reason
        # What was added through the API: by this account's owner, not by the recipient.
        for name in (GLOBAL, *([] if line["group_id"] is None else [group_list(line["group_id"])])):
            if any(entry.created < moment(line) for entry in self._lists.find(name, [address])):
                return "Unsubscribed Address"
        return None

    def _learn(self, due: _Due) -> None:
        assert due.reaction is not None
        address, group = due.line["to"].lower(), due.line["group_id"]
        fields = {**_USUAL_FIELDS.get(due.reaction.event, {}), **due.reaction.fields}
        match due.reaction.event:
            case "bounce" if fields["type"] == "bounce":
                self._suppressed.setdefault((address, None), ("Bounced Address", due.at))
            case "spamreport":
                self._suppressed.setdefault((address, None), ("Spam Reporting Address", due.at))
            case "unsubscribe":
                self._suppressed.setdefault((address, None), ("Unsubscribed Address", due.at))
            case "group_unsubscribe":
                self._suppressed.setdefault((address, group), ("Unsubscribed Address", due.at))
            case "group_resubscribe":
                self._suppressed.pop((address, group), None)

    # --- telling it -------------------------------------------------------------------------------------

    def _post_events(self, now: datetime) -> int:
        posted = 0
        if self._disorder is not None:
            self._events = deque(self._disorder.shuffled(self._events))
        while self._events and (self.tries_again_at is None or now >= self.tries_again_at):
            batch, body = _first_batch(self._events, self._disorder)
            if not self._post_batch(body, now):
                self._put_off(now)
                break
            self._down_since, self._wait, self.tries_again_at = None, timedelta(0), None
            self._remember(batch)
            for _ in batch:
                self._events.popleft()
            posted += len(batch)
            if again := [due for due in batch if self._disorder is not None and self._disorder.is_repeated(due.key)]:
                self._post_batch(_first_batch(again, self._disorder)[1], now)  # whatever is answered
        return posted

    def _put_off(self, now: datetime) -> None:
        """Wait longer than the last time, and lose what was refused for a day. The service itself still knows of it."""
        self._down_since = self._down_since or now
        self.tries_again_at = now + self._wait
        self._wait = min(max(2 * self._wait, FIRST_WAIT), LONGEST_WAIT)
        lost = [due for due in self._events if now - max(due.at, self._down_since) >= GIVES_UP_AFTER]
        if lost:
            self._remember(lost, outcome="lost")
            self._events = deque(due for due in self._events if due.key not in self._posted)

    def _post_batch(self, body: bytes, now: datetime) -> bool:
        timestamp = str(int(now.timestamp()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "SendGrid Event API",
            SIGNATURE_HEADER: sign(self._key, timestamp, body),
            TIMESTAMP_HEADER: timestamp,
        }
        try:
            return self._client.post(self._webhook_url, content=body, headers=headers).is_success
        except httpx.HTTPError:
            return False

    def _perform_actions(self, now: datetime) -> int:
        """Do what the recipients do. A refusal (4xx) is final, as it is for mail clients; anything else is retried."""
        performed = 0
        for _ in range(len(self._actions)):
            due = self._actions.popleft()
            outcome = self._one_click(due.line)
            if outcome is None:
                self._actions.append(due)
                continue
            self._remember([due], outcome=outcome, at=now)
            performed += 1
        return performed

    def _one_click(self, line: Mapping[str, Any]) -> str | None:
        """Unsubscribe as a mail client does (RFC 8058); return what came of it, None to try again."""
        if not line["unsubscribe_url"]:
            return "the mail offers no one-click unsubscribe"
        url = _loopback(line["unsubscribe_url"], "the unsubscribe address of a sandbox mail")
        try:
            answer = self._client.post(url, data={"List-Unsubscribe": "One-Click"})
        except httpx.HTTPError:
            return None
        if answer.is_server_error:
            return None
        return "done" if answer.is_success else f"refused with {answer.status_code}"

    def _remember(self, batch: Iterable[_Due], **more: Any) -> None:
        lines = [_posted_line(due, more) for due in batch]
        self._posted_log.append(lines)
        self._posted.update(line["key"] for line in lines)


def _posted_line(due: _Due, more: Mapping[str, Any]) -> dict[str, Any]:
    assert due.reaction is not None
    fields = {**_USUAL_FIELDS.get(due.reaction.event, {}), **due.reaction.fields}
    shown: dict[str, Any] = {name: fields[name] for name in ("url", "reason", "type") if name in fields}
    if due.reaction.event.startswith("group_"):
        shown["group_id"] = due.line["group_id"]
    return {
        "key": due.key,
        "message_id": due.line["message_id"],
        "to": due.line["to"],
        "event": due.reaction.event or due.reaction.action,
        "at": due.at,
        **shown,
        **more,
    }


def _first_batch(events: Iterable[_Due], disorder: Disorder | None) -> tuple[list[_Due], bytes]:
    """Take as many events as fit into one POST, at least one."""
    batch: list[_Due] = []
    parts: list[bytes] = []
    size = len(_OPEN) + len(_CLOSE)
    for due in events:
        event = _event(due)
        part = orjson.dumps(event if disorder is None else disorder.told(event))
        size += len(part) + len(_BETWEEN)
        if batch and size > MAX_BATCH_BYTES:
            break
        batch.append(due)
        parts.append(part)
    return batch, _OPEN + _BETWEEN.join(parts) + _CLOSE


def _event(due: _Due) -> dict[str, Any]:
    """Return one event as SendGrid spells it: custom arguments flattened, and losing against its own names."""
    assert due.reaction is not None
    line, name, categories = due.line, due.reaction.event, due.line["categories"]
    event: dict[str, Any] = {**line["custom_args"], **_USUAL_FIELDS.get(name, {}), **due.reaction.fields}
    event |= {
        "email": line["to"],
        "timestamp": int(due.at.timestamp()),
        "smtp-id": f"<{line['message_id']}@geopod-ismtpd-sandbox>",
        "event": name,
        "sg_event_id": due.key,
        "sg_message_id": whole_message_id(line),
    }
    if categories:
        event["category"] = categories[0] if len(categories) == 1 else categories
    if name.startswith("group_"):
        event["asm_group_id"] = line["group_id"]
    return event


def _key(line: Mapping[str, Any], reaction: Reaction, index: int) -> str:
    parts = (line["message_id"], line["to"], reaction.event or reaction.action or "", str(index))
    return base64.urlsafe_b64encode(hashlib.sha256("\x1f".join(parts).encode()).digest()[:24]).decode()


def _loopback(url: str, what: str) -> str:
    """Return the URL if it stays on this machine: a sandbox must reach nobody else."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        is_local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_local = False
    if parts.scheme not in ("http", "https") or not is_local:
        raise SettingsError(f"{what} is on host {host!r}; fakegrid talks to this machine only, e.g. 127.0.0.1")
    return url
