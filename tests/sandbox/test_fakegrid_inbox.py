from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uptake.adapters.internal_pages import render_page
from uptake.sandbox.fakegrid import EventPoster, Reaction
from uptake.sandbox.fakegrid.accept_log import AcceptLog
from uptake.sandbox.inbox import Inbox, create_inbox_app, write_inbox
from uptake.testing import FixedClock
from uptake.web_internal import SANDBOX_ROOMS, create_internal_app

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</iframe><script>alert(1)</script>",
    '" onload="alert(1)" x="',
    "'><svg/onload=alert(1)>",
    "</title></style></textarea><script>alert(1)</script>",
    "{{ 7 * 7 }}{% for x in y %}",
    "&quot;&gt;&lt;b&gt;",
    "\u202egnp.exe <!-- ",
    "]]><!DOCTYPE html><meta http-equiv=refresh content='0;url=https://evil.example'>",
]


class Page(HTMLParser):
    """The elements of a page, and its text, as a browser would see them."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    @property
    def skeleton(self) -> list[tuple[str, tuple[str, ...]]]:
        return [(tag, tuple(sorted(attributes))) for tag, attributes in self.tags]

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


class Sandbox:
    def __init__(self, home: Path, now: datetime) -> None:
        self.home, self.clock = home, FixedClock(now)
        self.log = AcceptLog(home, self.clock)

    def accept(self, *addresses: str, name: str = "Ana", html: str = "<p>Hello -n-</p>", **more: object) -> None:
        mail: dict[str, Any] = {
            "personalizations": [
                {"to": [{"email": one, "name": name}], "substitutions": {"-n-": f"{name} {n}"}}
                for n, one in enumerate(addresses)
            ],
            "from": {"email": "success@example.com", "name": "Cara"},
            "subject": "Dashboards for -n-",
            "content": [{"type": "text/plain", "value": "Dear -n-"}, {"type": "text/html", "value": html}],
            **more,
        }
        self.log.accept(json.dumps(mail).encode(), mail)

    def react(self, *reactions: Reaction) -> None:
        class All:
            def reactions(self, accepted: Mapping[str, Any]) -> Iterable[Reaction]:
                return reactions

        client = httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200)))
        poster = EventPoster(self.home, "http://127.0.0.1:1/x", All(), client=client)
        poster.post_due(self.clock.now() + timedelta(days=1))
        poster.close()

    async def get(self, path: str, **params: str) -> httpx.Response:
        app = create_internal_app(self.home, inbox=create_inbox_app(self.home, rooms=SANDBOX_ROOMS))
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", follow_redirects=True) as client:
            return await client.get(path, params=params or None)


@pytest.fixture
def sandbox(tmp_path: Path, now: datetime) -> Sandbox:
    return Sandbox(tmp_path, now)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def test_the_latest_mail_comes_first_and_can_be_found(sandbox: Sandbox) -> None:
    inbox = Inbox(sandbox.home)
    assert inbox.search() == ([], 0)
    sandbox.accept("ana@example.com", "bo@example.com")
    sandbox.accept("cy@example.com", subject="Reports")
    mails, total = inbox.search()
    assert [(mail.number, mail.to) for mail in mails] == [
        (3, "cy@example.com"),
        (2, "bo@example.com"),
        (1, "ana@example.com"),
    ]
    assert total == inbox.count == 3
    assert [mail.to for mail in inbox.search("BO@")[0]] == ["bo@example.com"]
    assert [mail.to for mail in inbox.search("reports")[0]] == ["cy@example.com"]
    assert [mail.to for mail in inbox.search(offset=1, limit=1)[0]] == ["bo@example.com"]
    assert inbox.open(2).preview == "Dear Ana 1"  # type: ignore[union-attr]
    assert (inbox.open(0), inbox.open(4)) == (None, None)


def test_a_mail_tells_what_happened_to_it_once_and_in_order(sandbox: Sandbox) -> None:
    sandbox.accept("ana@example.com")
    minute = timedelta(minutes=1)
    sandbox.react(
        Reaction(event="processed"),
        Reaction(event="click", delay=3 * minute, fields={"url": "https://app.example.com/x"}),
        Reaction(event="open", delay=2 * minute),
        Reaction(event="open", delay=4 * minute),
        Reaction(event="bounce", delay=5 * minute, fields={"type": "blocked", "reason": "busy"}),
        Reaction(action="one_click", delay=6 * minute),
    )
    posted = sandbox.home / "fakegrid" / "posted.jsonl"
    posted.write_bytes(posted.read_bytes() * 2)  # what a kill leaves behind
    mail = Inbox(sandbox.home).open(1)
    assert mail is not None
    assert [(step.label, step.detail) for step in mail.steps] == [
        ("processed", ""),
        ("opened", ""),
        ("clicked", "https://app.example.com/x"),
        ("opened", ""),
        ("blocked for now", "busy"),
        ("tried to unsubscribe", "the mail offers no one-click unsubscribe"),
    ]
    assert [(chip.label, chip.times) for chip in mail.chips][:2] == [("opened", 2), ("clicked", 1)]


@pytest.mark.anyio
async def test_the_pages_show_list_and_mail(sandbox: Sandbox) -> None:
    for n in range(60):
        sandbox.accept(f"p{n}@example.com")
    first = Page((await sandbox.get("/inbox")).text)
    assert next(link["href"] for link in first.all("a") if link.get("class") == "row") == "/inbox/60"
    assert "simulated people" in first.text
    older = next(link["href"] for link in first.all("a") if link.get("rel") == "next")
    second = Page((await sandbox.get(str(older))).text)
    assert sum(link.get("class") == "row" for link in second.all("a")) == 10
    found = Page((await sandbox.get("/inbox/", q="p7@")).text)
    assert sum(link.get("class") == "row" for link in found.all("a")) == 1
    one = await sandbox.get("/inbox/8")
    assert "p7@example.com" in Page(one.text).text
    assert "frame-ancestors 'none'" in one.headers["Content-Security-Policy"]
    assert (await sandbox.get("/inbox/61")).status_code == 404
    assert (await sandbox.get("/inbox/", page="-1", q="nobody")).status_code == 200


@pytest.mark.anyio
@pytest.mark.parametrize("evil", HOSTILE)
async def test_hostile_text_changes_no_element_of_any_page(tmp_path: Path, now: datetime, evil: str) -> None:
    async def pages(home: Path, text: str) -> list[Page]:
        sandbox = Sandbox(home, now)
        sandbox.accept(
            "ana@example.com",
            name=text,
            html=f"<p>{text}</p>",
            subject=f"Hi {text}",
            headers={"X-A": text},
            content=[{"type": "text/plain", "value": text}, {"type": "text/html", "value": f"<p>{text}</p>"}],
        )
        sandbox.react(Reaction(event="click", fields={"url": text}), Reaction(event="bounce", fields={"reason": text}))
        found = [await sandbox.get("/inbox/"), await sandbox.get("/inbox/1"), await sandbox.get("/inbox/", q=text)]
        file = write_inbox(home, home / "reports" / "inbox.html").read_text()
        return [Page(content) for content in [*(answer.text for answer in found), file]]

    hostile, harmless = await pages(tmp_path / "1", evil), await pages(tmp_path / "2", "Ana")
    assert [page.skeleton for page in hostile] == [page.skeleton for page in harmless]
    assert all(not page.all("script") for page in hostile)
    assert f"Hi {evil}" in hostile[1].text


@pytest.mark.parametrize("evil", HOSTILE)
def test_a_mails_html_stays_inside_a_frame_that_may_do_nothing(sandbox: Sandbox, evil: str) -> None:
    sandbox.accept("ana@example.com", html=f"<!doctype html><html><body>{evil}</body></html>")
    page = Page(write_inbox(sandbox.home, sandbox.home / "inbox.html").read_text())
    [frame] = page.all("iframe")
    assert frame["sandbox"] == ""
    inner = str(frame["srcdoc"])
    assert evil in inner
    assert inner.startswith('<!doctype html><meta http-equiv="Content-Security-Policy" content="default-src \'none\'')
    assert "default-src 'none'" in str(page.all("meta")[2]["content"])  # the page's own rules bind the frame too


@given(text=st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_the_frame_holds_exactly_the_mail(text: str) -> None:
    page = Page(render_page("inbox_file.html.j2", mails=[_mail(frame=text)], total=1))
    assert page.all("iframe")[0]["srcdoc"] == text


def _mail(**fields: object) -> dict[str, object]:
    moment = datetime.fromisoformat("2026-03-03T09:00+00:00")
    words = dict.fromkeys(
        ["send_id", "to", "to_name", "sender", "sender_name", "reply_to", "subject", "preview", "text", "frame"], "x"
    )
    return {**words, "number": 1, "headers": {}, "links": [], "accepted_at": moment, "steps": [], "chips": [], **fields}


def test_the_file_needs_no_server_and_fetches_nothing(sandbox: Sandbox) -> None:
    for n in range(3):
        sandbox.accept(f"p{n}@example.com")
    path = write_inbox(sandbox.home, sandbox.home / "reports" / "inbox.html", limit=2)
    page = Page(path.read_text())
    assert len(page.all("iframe")) == len(page.all("summary")) // 4 == 2
    assert not [*page.all("a"), *page.all("link"), *page.all("script"), *page.all("img")]
    assert "The latest 2 of 3 mails" in page.text
    assert page.all("html")[0]["lang"] == "en"
    assert all(frame["title"] for frame in page.all("iframe"))


def test_an_empty_inbox_says_so(tmp_path: Path) -> None:
    assert "No mail has been accepted yet" in write_inbox(tmp_path, tmp_path / "inbox.html").read_text()
