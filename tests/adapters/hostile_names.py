"""Names that try to be more than names, and every medium that a name may reach.

In each medium a hostile name must leave what a reader's program sees (elements, links, headers, cells) as a benign one
leaves it. The judge reads the whole result as that program would: an HTML or Markdown parser, a CSV reader.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from html.parser import HTMLParser
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

from markdown_it import MarkdownIt

from tests.conftest import ROOT
from uptake.adapters.evidence_duckdb import DuckEvidence
from uptake.adapters.marts import MARTS
from uptake.adapters.playbook_files import PlaybookFiles
from uptake.adapters.report_pages import HtmlPages
from uptake.adapters.sendgrid import SendGridMailer
from uptake.adapters.templates import fill_words
from uptake.domain.playbooks import Release
from uptake.operations.tasks import Task
from uptake.ports import MailBatch, Recipient, ValueReport
from uptake.sandbox.fakegrid.accept_log import AcceptLog
from uptake.sandbox.fakegrid.mail import mail_to
from uptake.sandbox.fakegrid.validation import problems
from uptake.sandbox.inbox import write_inbox
from uptake.summaries.markdown import bullets, table
from uptake.summaries.tasks import as_rows, task_summary
from uptake.testing import FixedClock, write_snapshot

NOW = datetime(2026, 3, 3, 9, tzinfo=UTC)
BENIGN = "Eve Example"
GUIDE = "https://learn.example.com/guides/boards"

# Each means something to some program that a name passes on its way.
_TEMPLATES = [
    "{{ 7*7 }}", "{{7*7}}", "{%print(7*7)%}", "{% for x in ().__class__.__mro__ %}{{x}}{% endfor %}", "{{ config }}",
    "{{ self.__init__.__globals__ }}", "{{ ''.__class__.__base__.__subclasses__() }}", "{# note #}", "{{{{x}}}}", "{{",
    "}}", "{%", "%}", "${7*7}", "#{7*7}", "<%= 7*7 %>", "{{= 7*7 }}", "{{{7*7}}}", "{{#if x}}", "{{/each}}", "*{7*7}",
    "@(7*7)", "~{7*7}", "{{ contact.__class__ }}", "{% raw %}", "{% include '/etc/passwd' %}", "%(x)s", "{0.__class__}",
]  # fmt: skip
_HTML = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", '"><svg onload=alert(1)>', "'><b>",
    "</p></td></table>",
    "<a href='https://evil.example'>x</a>", "<!-- ", " -->", "<!--[if mso]>", "<style>*{display:none}</style>",
    "</title><h1>", "</textarea>", "<iframe src=//evil.example>", "&lt;b&gt;", "&#60;b&#62;", "&", "&amp;lt;", "<", ">",
    "' onmouseover='x", '" style="color:red', "<base href=//evil.example>", "<form action=//evil.example>", "<br/>",
    "<meta http-equiv=refresh content=0>", "]]>", "<![CDATA[x", "<?php 7*7 ?>", "\x3cscript\x3e", "<\x00script>",
]  # fmt: skip
_LINKS = [
    "https://evil.example/x", "http://evil.example", "javascript:alert(1)", "data:text/html,x", "//evil.example",
    "www.evil.example", "eve@evil.example", "mailto:eve@evil.example", "[x](https://evil.example)",
    "<https://evil.example>", "![x](https://evil.example/y.png)", "https://docs.example@evil.example/",
    "../../../etc/passwd", "?a=1&b=2#c",
    "[x]: https://evil.example", "ftp://evil.example", "https:\\\\evil.example", "%2e%2e%2f", "xn--e1awd7f.example",
]  # fmt: skip
_UNSEEN = [
    "\u202eevE", "\u2066x\u2069", "\u200e", "\u200b", "\ufeffEve", "\u2028", "\u2029", "\u0085", "\ud800",
    "\udfff\ud800",
    "\x00", "\x1b[31mred", "\x7f", "\x08\x08", "\u061c", "\u2060", "\u00ad", "e\u0301" * 20, "\U000e0041", "\ufffe",
]  # fmt: skip
_LINES = [
    "Eve\r\nBcc: all@evil.example", "Eve\nSubject: new", "Eve\r\n\r\n<html>", "Eve\rX: y", "Eve\n.\n", "%0d%0aBcc: x",
    "Eve\x0bX", "Eve\x0cX", "=?utf-8?q?=0d=0aBcc:_x?=", "Eve\u2028Bcc: x", "a" * 998, "Eve\n\n\nEve", "\n",
    "\r\n", "\t",
]  # fmt: skip
_CELLS = [
    "=1+1", "+1+1", "-1+1", "@SUM(A1)", "=cmd|' /C calc'!A0", "\t=1",
    "\r=1", '=HYPERLINK("https://evil.example")', "|x",
    "\n=1", '"=1"', "'=1", ";=1", ",=1", "a,b", 'a"b', "＝1+1", "＋1", "－1", "＠SUM(A1)",
]  # fmt: skip
_TAGS = [
    "<% asm_group_unsubscribe_raw_url %>", "<%asm_global_unsubscribe_raw_url%>", "[unsubscribe]", "[Unsubscribe]",
    "[weblink]", "%name%", "[%first_name%]", "-name-", "-first-name-", "%open-track%", "{{insert name}}", "[[body]]",
    "[[unsubscribe_url]]", "-u000000000000000000000000hbody-", "u0000000000000000n0e", "%%", "[", "]", "[%", "%]",
]  # fmt: skip
_MARKS = [
    "**x**", "_x_", "`x`", "# x", "- x", "1. x", "> x", "| a | b |", "|---|", "~~x~~", "\\*x\\*", "* * *",
    "```\nx\n```",
    "x\n===", "    code", "$x$", "- [ ] x", "1) x", "+ x", "==x==",
]  # fmt: skip
PIECES = [*_TEMPLATES, *_HTML, *_LINKS, *_UNSEEN, *_LINES, *_CELLS, *_TAGS, *_MARKS]
_WHOLE: list[Callable[[str], str]] = [
    lambda piece: piece,
    lambda piece: f"Eve {piece}",
    lambda piece: f"{piece} Example",
]


def names() -> list[str]:
    """Return each piece alone, at the end and at the beginning of a name: over 500 names."""
    return [make(piece) for piece in PIECES for make in _WHOLE]


def a_name(draw: Random) -> str:
    """Return some pieces and letters put together."""
    parts = [
        draw.choice(PIECES) if draw.random() < 0.7 else draw.choice("aZ09é \t-") for _ in range(draw.randint(1, 4))
    ]
    return "".join(parts)[:1500]


class _Seen(HTMLParser):
    """What a browser would act on: elements, their attributes, and where these lead to."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.seen: list[object] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        kept = [(name, value if name in ("href", "src", "action", "style") else None) for name, value in attrs]
        self.seen.append((tag, kept))

    def handle_endtag(self, tag: str) -> None:
        self.seen.append(tag)

    def handle_comment(self, data: str) -> None:
        self.seen.append(("comment", data))

    def handle_pi(self, data: str) -> None:
        self.seen.append(("instruction", data))


def elements(html: str) -> list[object]:
    """Return the skeleton of a page."""
    return _Seen(html).seen


class Mediums:
    """Everything that a name is written into, made once; `check` raises AssertionError on what a name has changed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mailer = SendGridMailer("https://api.sendgrid.com", "SG.x", clock=FixedClock(NOW))
        files = PlaybookFiles(ROOT / "playbooks", catalogue=ROOT / "dbt_project" / "seeds" / "feature_catalog.csv")
        self.releases = [files.release(name) for name in files.names()]
        self.bodies: list[bytes] = []  # of the name checked last
        self._pages = HtmlPages()
        self._account, self._report = _evidence(folder)
        self._markdown = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
        self._benign: dict[str, list[object]] = {}
        self._benign = {medium: list(found) for medium, found in self._all(BENIGN)}
        self.mediums = sorted(self._benign)

    def check(self, name: str, *, with_charts: bool = True) -> None:
        """Write one name into every medium; the value report, whose charts cost far more than all others, on demand."""
        for medium, found in self._all(name, with_charts=with_charts):
            assert found == self._benign[medium], f"{medium} is another with {name!r}"

    def _all(self, name: str, *, with_charts: bool = True) -> list[tuple[str, list[object]]]:
        report = [_swap(self._report, name)] if with_charts else []
        return [
            *self._mails(name),
            ("account page", elements(self._pages.account(_swap(self._account, name), playbooks=[name]))),
            *(("value report", elements(self._pages.leadership(one, account_link=None))) for one in report),
            ("tasks as CSV", _cells(name)),
            *((medium, self._blocks(text)) for medium, text in _markdown(name)),
        ]

    def _blocks(self, text: str) -> list[object]:
        html = self._markdown.render(text)
        return [len(text.splitlines()), *elements(html)]

    # --- mail -----------------------------------------------------------------------------------------------

    def _mails(self, name: str) -> list[tuple[str, list[object]]]:
        found: list[tuple[str, list[object]]] = []
        self.bodies = []
        for release in self.releases:
            for stage in release.texts:
                found += self._mail(release, stage, name)
            for stage in release.words:
                words = fill_words(release, stage, _fields(name)) or ""
                _is_data(words, name)
                found.append((f"{release.name}/{stage}: words", [bool(words)]))
        found.append(("inbox", self._inbox()))
        return found

    def _mail(self, release: Release, stage: str, name: str) -> list[tuple[str, list[object]]]:
        where = f"{release.name}/{stage}"
        recipient = Recipient(
            send_id="s0", contact_id="c0", address="eve@customer.example", full_name=name, fields=_fields(name),
            unsubscribe_url="https://mail.acme.example/u/token",
        )  # fmt: skip
        rendered = self._mailer.render(MailBatch(release=release, stage_key=stage, recipients=(recipient,)))
        if not rendered.send_ids:
            # A name of nothing but control characters leaves no subject: this one person is not mailed.
            assert not name.strip() or not any(character.isprintable() for character in name.strip()), name
            return [(where, self._benign[where])]
        body = json.loads(rendered.body)
        assert problems(body, now=NOW) == [], where
        self.bodies.append(rendered.body)
        mail = mail_to(body, 0, "eve@customer.example")
        for value in (mail.subject, mail.to_name, *mail.headers.values()):
            assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", value), (where, value)
        message = EmailMessage(policy=SMTP)
        message["Subject"], message["X-Name"] = mail.subject, mail.to_name
        assert {key for key, _ in message.items()} == {"Subject", "X-Name"}
        assert not re.search(r"[;,<>\"]", mail.to_name)
        own = body["personalizations"][0].get("substitutions") or {"": mail.text}  # a long one goes alone, as a whole
        for part in (mail.subject, *own.values()):
            _is_data(part, name)
            for tag in re.findall(r"-[^\s-]+-", name):
                assert tag not in part, (where, tag)
        html = elements(mail.html)
        marks = [mark for mark in ("Stop these e-mails or choose what you get: ",) if mail.text.count(mark) == 1]
        return [(where, [*html, *marks])]

    def _inbox(self) -> list[object]:
        # Nothing here has to outlive a power loss, and a disk takes its time for each of the names.
        with tempfile.TemporaryDirectory(dir=self._folder) as home, mock.patch("os.fsync"):
            log = AcceptLog(Path(home), FixedClock(NOW))
            log.accept(self.bodies[0], json.loads(self.bodies[0])) if self.bodies else None
            log.close()
            page = write_inbox(Path(home), Path(home) / "inbox.html").read_text()
        return elements(page) if self.bodies else self._benign["inbox"]


_TAG = re.compile(r"\{\{|\}\}|\{%|%\}|<%|%>|\[[A-Za-z%\[]|%[A-Za-z][\w-]*%")  # what SendGrid, or Jinja, would fill in


def _is_data(text: str, name: str) -> None:
    """Nothing in it was evaluated, and no tag of the mail service came with the name."""
    assert "49" not in text or "49" in name, text
    assert not _TAG.search(text), text
    text.encode()


def _fields(name: str) -> dict[str, dict[str, Any]]:
    """Return merge fields in which all that a customer may write is this name."""
    texts = {"account_id", "plan", "region", "csm", "role", "locale", "name"}

    def row(mart: str, **known: Any) -> dict[str, Any]:
        columns = MARTS[mart]
        filled = {
            field.name: name if field.name in texts else 3 if str(field.type) != "string" else None for field in columns
        }
        dates = {field.name: NOW.date() for field in columns if str(field.type).startswith(("date", "timestamp"))}
        return {**filled, **dates, **known}

    taught = {"feature_key": "boards", "guide_url": GUIDE, "adoption_state": "never"}
    return {
        "account": row("accounts_current"),
        "contact": {**row("contacts_current"), "given_name": name, "full_name": name},
        "feature": {**row("contact_features"), **row("dim_features"), **taught},
        "account_feature": row("account_features", adoption_state="never"),
        "sender": {"name": "Ada", "address": "ada@acme.example"},
    }


# --- pages and lists ------------------------------------------------------------------------------------------


def _evidence(folder: Path) -> tuple[Any, ValueReport]:
    """Return an account page and a value report whose every name is the benign one."""
    account = {
        "account_id": BENIGN,
        "plan": BENIGN,
        "csm": BENIGN,
        "region": BENIGN,
        "churned": False,
        "is_internal": False,
    }
    snapshot = write_snapshot(
        folder,
        as_of=NOW,
        marts={
            "dim_accounts": [account],
            "accounts_current": [
                {**account, "adoption_breadth": 0.5, "count_features_entitled": 2, "count_features_adopted": 1}
            ],
            "contacts_current": [{"contact_id": "c0", "account_id": BENIGN, "role": BENIGN}],
            "dim_features": [{"feature_key": key, "name": BENIGN, "ladder_rank": 1} for key in ("a", "b")],
            "account_features": [
                {
                    "account_id": BENIGN,
                    "feature_key": key,
                    "is_entitled": True,
                    "adoption_state": state,
                    "days_used_28": 3,
                }
                for key, state in (("a", "adopted"), ("b", "never"))
            ],
        },
    )
    evidence = DuckEvidence()
    page = evidence.account(snapshot, BENIGN)
    assert page is not None
    report = ValueReport(
        overview=evidence.overview(snapshot), outcomes=[],
        over_time=[(NOW - timedelta(days=day), 0.3) for day in (9, 0)],
        sends={BENIGN: {"accepted": 3}}, withheld={BENIGN: {"suppressed": 1}},
        gate={"status": "passed", "count_checks": 3}, manifest={"dbt_invocation_id": BENIGN, "git_sha": BENIGN},
    )  # fmt: skip
    assert json.dumps(dataclasses.asdict(page), default=str).count(BENIGN) >= 3
    return page, report


def _swap(value: Any, name: str) -> Any:
    """Return the same with another name in the place of the benign one, as a value or as a key."""
    match value:
        case str() if type(value) is str:
            return value.replace(BENIGN, name)
        case Mapping():
            return {_swap(key, name): _swap(inner, name) for key, inner in value.items()}
        case list() | tuple() if not hasattr(value, "_fields"):
            return type(value)(_swap(inner, name) for inner in value)
        case _ if dataclasses.is_dataclass(value):
            changed = {field.name: _swap(getattr(value, field.name), name) for field in dataclasses.fields(value)}
            return dataclasses.replace(value, **changed)  # type: ignore[type-var]
        case _:
            return value


def _task(name: str) -> Task:
    return Task(
        task_id=1, playbook="activate", stage_key="call", title=name, owner=name, due_at=NOW, is_overdue=False,
        account_id=name, contact_id=name, contact_name=name, contact_role=name, feature_key=name, opened_at=NOW,
        facts={"plan": name}, words=name,
    )  # fmt: skip


def _cells(name: str) -> list[object]:
    """Return how many cells a reader finds; none may be a formula, and each still says the name."""
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerows(as_rows([_task(name)]))
    (row,) = csv.reader(io.StringIO(written.getvalue(), newline=""))
    assert not [
        cell for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"))
    ], row
    said = re.sub("\r\n?", "\n", name)
    assert sum(cell in (said, f"'{said}") for cell in row) == 8
    return [len(row)]


def _markdown(name: str) -> list[tuple[str, str]]:
    return [
        ("tasks as Markdown", task_summary([_task(name)])),
        ("a table", table([name, "b"], [[name, 1], [name, name]])),
        ("a list", bullets([name, f"{name} {name}"])),
    ]
