"""The inbox of the simulated people: every accepted mail as its recipient sees it, and what happened to it."""

from __future__ import annotations

import re
import threading
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route, Router

from uptake.adapters.internal_pages import HEADERS, render_page
from uptake.sandbox.fakegrid.accept_log import Tail, accepted_path, moment, posted_path, read_request
from uptake.sandbox.fakegrid.mail import mail_to

PAGE_SIZE = 50

# The frame's own rules, stricter than the page around it: a mail may be looked at and do nothing. Its links are dead.
_FRAME_HEAD = (
    '<meta http-equiv="Content-Security-Policy" '
    "content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">"
    "<style>a{pointer-events:none}</style>"
)
_DOCTYPE = re.compile(r"\s*<!doctype[^>]*>", re.IGNORECASE)

#: SendGrid's word, ours, and how it is coloured.
_STEPS = {
    "processed": ("processed", ""),
    "deferred": ("deferred", "wait"),
    "delivered": ("delivered", ""),
    "open": ("opened", "good"),
    "click": ("clicked", "good"),
    "bounce": ("bounced", "bad"),
    "dropped": ("dropped", "bad"),
    "spamreport": ("reported as spam", "bad"),
    "unsubscribe": ("unsubscribed", "wait"),
    "group_unsubscribe": ("unsubscribed from the topic", "wait"),
    "group_resubscribe": ("subscribed again", "good"),
    "one_click": ("unsubscribed by one click", "wait"),
}
_UNREMARKABLE = frozenset({"processed"})


@dataclass(frozen=True, kw_only=True)
class Step:
    """One thing that happened to a mail."""

    label: str
    tone: str
    at: datetime
    detail: str


@dataclass(frozen=True, kw_only=True)
class Chip:
    """What happened to a mail, in a word."""

    label: str
    tone: str
    times: int


@dataclass(frozen=True, kw_only=True)
class InboxMail:
    """One mail, ready to be shown. Every field is data from outside: to be escaped."""

    number: int
    send_id: str
    to: str
    to_name: str
    sender: str
    sender_name: str
    reply_to: str
    subject: str
    preview: str
    text: str
    frame: str  # the HTML part, for a sandboxed frame
    headers: Mapping[str, str]
    links: Sequence[str]
    accepted_at: datetime
    steps: Sequence[Step]
    chips: Sequence[Chip]


class Inbox:
    """Reads fakegrid's files; may be asked while fakegrid runs."""

    def __init__(self, home: Path) -> None:
        self._requests = home / "fakegrid" / "requests"
        self._accepted = Tail(accepted_path(home))
        self._posted = Tail(posted_path(home))
        self._lines: list[Mapping[str, Any]] = []
        self._events: defaultdict[tuple[str, str], dict[str, Mapping[str, Any]]] = defaultdict(dict)
        self._lock = threading.Lock()
        self._request = lru_cache(maxsize=64)(self._read_request)

    def search(self, query: str = "", *, offset: int = 0, limit: int = PAGE_SIZE) -> tuple[list[InboxMail], int]:
        """Return one page of the mails with `query` in recipient or subject, latest first, and how many there are."""
        lines = self._read()
        words = query.casefold().strip()
        found = [
            number
            for number in range(len(lines), 0, -1)
            if words in f"{lines[number - 1]['to']}\n{lines[number - 1]['subject']}".casefold()
        ]
        return [self._mail(number) for number in found[offset : offset + limit]], len(found)

    def open(self, number: int) -> InboxMail | None:
        """Return one mail by its number, counted from 1 for the oldest; None when there is none."""
        return self._mail(number) if 1 <= number <= len(self._read()) else None

    @property
    def count(self) -> int:
        """How many mails there are."""
        return len(self._read())

    def _read(self) -> Sequence[Mapping[str, Any]]:
        with self._lock:
            self._lines += self._accepted.read_new()
            for event in self._posted.read_new():
                self._events[event["message_id"], event["to"]][event["key"]] = event
        return self._lines

    def _read_request(self, message_id: str) -> Mapping[str, Any]:
        return read_request(self._requests, message_id)

    def _mail(self, number: int) -> InboxMail:
        line = self._lines[number - 1]
        mail = mail_to(self._request(line["message_id"]), line["position"], line["to"])
        events = sorted(self._events[line["message_id"], line["to"]].values(), key=lambda event: str(event["at"]))
        told = Counter(event["event"] for event in events if event["event"] not in _UNREMARKABLE)
        return InboxMail(
            number=number,
            send_id=line["send_id"],
            to=mail.to,
            to_name=mail.to_name,
            sender=mail.sender,
            sender_name=mail.sender_name,
            reply_to=mail.reply_to,
            subject=mail.subject,
            preview=" ".join(mail.text.split())[:140],
            text=mail.text,
            frame=_framed(mail.html),
            headers=mail.headers,
            links=line["links"],
            accepted_at=moment(line),
            steps=[_step(event) for event in events],
            chips=[Chip(label=_word(name)[0], tone=_word(name)[1], times=times) for name, times in told.items()],
        )


def create_inbox_app(home: Path, *, rooms: Sequence[tuple[str, str]]) -> Router:
    """Build the pages `/inbox/` and `/inbox/<number>`, to be mounted by `web_internal`.

    Args:
        home: `$UPTAKE_HOME`
        rooms: (path, name) of the pages to link to
    """
    inbox = Inbox(home)

    def listing(request: Request) -> Response:
        query = request.query_params.get("q", "")
        asked = request.query_params.get("page", "1")
        page = max(1, int(asked)) if asked.isascii() and asked.isdigit() and len(asked) < 9 else 1
        offset = (page - 1) * PAGE_SIZE
        mails, total = inbox.search(query, offset=offset)
        return _page("inbox.html.j2", rooms, mails=mails, total=total, query=query, page=page, offset=offset)

    def one(request: Request) -> Response:
        number: int = request.path_params["number"]
        mail = inbox.open(number)
        if mail is None:
            raise HTTPException(404)
        newer = number + 1 if number < inbox.count else None
        return _page("mail.html.j2", rooms, mail=mail, newer=newer, older=number - 1)

    return Router(routes=[Route("/", listing), Route("/{number:int}", one)])


def write_inbox(home: Path, path: Path, *, limit: int = 200) -> Path:
    """Write the latest mails as one HTML file that opens without a server, and return its path."""
    mails, total = Inbox(home).search(limit=limit)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.write_text(render_page("inbox_file.html.j2", mails=mails, total=total), encoding="utf-8")
    draft.replace(path)
    return path


def _page(template: str, rooms: Sequence[tuple[str, str]], **values: Any) -> Response:
    return HTMLResponse(render_page(template, rooms=rooms, here="/inbox/", **values), headers=HEADERS)


def _framed(html: str) -> str:
    """Put the frame's rules in front of everything a mail could bring, but behind its doctype."""
    if not html:
        return ""
    found = _DOCTYPE.match(html)
    start = found.end() if found else 0
    return (html[:start] or "<!doctype html>") + _FRAME_HEAD + html[start:]


def _step(event: Mapping[str, Any]) -> Step:
    label, tone = _word(event["event"])
    details = [str(event[name]) for name in ("url", "reason") if event.get(name)]
    if event.get("type") == "blocked":
        label = "blocked for now"
    if event.get("outcome", "done") != "done":
        label, tone = "tried to unsubscribe", "bad"
        details.append(event["outcome"])
    return Step(
        label=label, tone=tone, at=datetime.fromisoformat(event["at"]).astimezone(UTC), detail=", ".join(details)
    )


def _word(event: str) -> tuple[str, str]:
    return _STEPS.get(event, (event, ""))
