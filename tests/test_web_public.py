from __future__ import annotations

import asyncio
import base64
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.testclient import TestClient

from tests.crash.scanners import Visited
from tests.crash.visitors import call
from uptake.adapters.ledger import SqlLedger, open_ledger
from uptake.adapters.sendgrid_events import SIGNATURE_HEADER, TIMESTAMP_HEADER
from uptake.adapters.tokens import Claim, Tokens
from uptake.errors import LedgerError
from uptake.ports import Keys
from uptake.testing import FixedClock
from uptake.web_public import create_public_app

NOW = datetime(2026, 3, 3, 9, tzinfo=UTC)
KEYS = Keys(pseudonym=b"k" * 32, tokens=(b"t" * 32,))
TOKENS = Tokens(KEYS.tokens)
TOKEN = TOKENS.sign(Claim(contact_id="c1", topic="training", feature_key="boards"))
PRIVATE = ec.generate_private_key(ec.SECP256R1())
BODY = b'[{"event":"delivered","email":"eve@customer.example","timestamp":1772528400}]\r\n'
STAMP = str(int(NOW.timestamp()))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqlLedger]:
    ledger = open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite3'}", KEYS)
    names = ("contact_id", "account_id", "address", "given_name", "full_name", "role", "time_zone", "locale")
    person = dict.fromkeys(names, "x") | {"contact_id": "c1", "account_id": "a1", "address": "eve@customer.example"}
    schema = pa.schema(
        [*((name, pa.string()) for name in names), ("consent_basis", pa.string()), ("consent_at", pa.timestamp("us"))]
    )
    ledger.people.load(pa.Table.from_pylist([person], schema=schema), now=NOW)
    yield ledger
    ledger.close()


@pytest.fixture
def client(ledger: SqlLedger) -> TestClient:
    return a_client(ledger)


def a_client(ledger: object, **options: object) -> TestClient:
    app = create_public_app(
        ledger,
        tokens=TOKENS,
        clock=FixedClock(NOW),
        webhook_keys=options.pop("webhook_keys", (PRIVATE.public_key(),)),
        topics=("training", "news"),
        **options,
    )
    return TestClient(app, raise_server_exceptions=True, follow_redirects=False)


def suppressed(ledger: SqlLedger) -> set[tuple[str, str]]:
    """Return (topic, source) of what is stopped; '' is every topic."""
    rows = ledger.enrollments.tables(now=NOW)["suppressions"].to_pylist()
    with ledger._store.read() as connection:
        sources = {
            row.topic: row.source for row in connection.exec_driver_sql("select topic, source from suppressions").all()
        }
    return {(row["topic"] or "", sources[row["topic"] or ""]) for row in rows}


def headers(body: bytes = BODY, stamp: str = STAMP) -> dict[str, str]:
    signature = PRIVATE.sign(stamp.encode() + body, ec.ECDSA(hashes.SHA256()))
    return {SIGNATURE_HEADER: base64.b64encode(signature).decode(), TIMESTAMP_HEADER: stamp}


# --- the webhook ------------------------------------------------------------------------------------------


def test_a_signed_body_is_stored_as_it_came_before_the_answer(client, ledger):
    response = client.post("/webhooks/sendgrid", content=BODY, headers=headers())
    assert (response.status_code, response.content) == (204, b"")
    assert [batch.body for batch in ledger.delivery.unfolded(9)] == [BODY]


def test_a_signed_body_is_stored_even_when_nobody_can_read_it(client, ledger):
    odd = b"[not json"
    assert client.post("/webhooks/sendgrid", content=odd, headers=headers(odd)).status_code == 204
    assert [batch.body for batch in ledger.delivery.unfolded(9)] == [odd]


def test_what_is_not_signed_is_not_stored(client, ledger):
    good = headers()
    for bad in (
        {},
        {SIGNATURE_HEADER: good[SIGNATURE_HEADER]},
        {TIMESTAMP_HEADER: STAMP},
        {**good, TIMESTAMP_HEADER: str(int(STAMP) + 1)},
        {**good, SIGNATURE_HEADER: ""},
        headers(stamp=str(int(STAMP) - 26 * 3600)),
    ):
        assert client.post("/webhooks/sendgrid", content=BODY, headers=bad).status_code == 403
    assert client.post("/webhooks/sendgrid", content=BODY[:-1], headers=good).status_code == 403
    doubled = [*good.items(), (SIGNATURE_HEADER, good[SIGNATURE_HEADER])]
    assert client.post("/webhooks/sendgrid", content=BODY, headers=doubled).status_code == 403
    assert ledger.delivery.unfolded(9) == []


def test_a_wrong_key_is_found_in_the_log_and_forgers_do_not_fill_it(client, caplog):
    for _ in range(3):
        client.post("/webhooks/sendgrid", content=BODY[:-1], headers=headers())
    (line,) = [record.getMessage() for record in caplog.records if record.name == "uptake.web_public"]
    assert "UPTAKE_WEBHOOK_PUBLIC_KEY" in line


def test_without_a_key_no_event_is_believed(ledger):
    response = a_client(ledger, webhook_keys=()).post("/webhooks/sendgrid", content=BODY, headers=headers())
    assert response.status_code == 403


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_long_is_not_read(ledger, chunked):
    client = a_client(ledger, max_webhook_bytes=len(BODY) - 1)
    content = iter([BODY[:10], BODY[10:]]) if chunked else BODY
    assert client.post("/webhooks/sendgrid", content=content, headers=headers()).status_code == 413
    assert ledger.delivery.unfolded(9) == []
    fits = a_client(ledger, max_webhook_bytes=len(BODY))
    assert fits.post("/webhooks/sendgrid", content=BODY, headers=headers()).status_code == 204


def test_only_post_reaches_the_webhook(client):
    assert client.get("/webhooks/sendgrid").status_code == 405


class _Down:
    """A ledger that cannot be reached."""

    def __getattr__(self, name: str) -> _Down:
        return self

    def __call__(self, *args: object, **options: object) -> None:
        raise LedgerError("locked by another process; eve@customer.example")


def test_while_the_ledger_is_down_nothing_is_acknowledged(caplog):
    client = a_client(_Down())
    assert client.post("/webhooks/sendgrid", content=BODY, headers=headers()).status_code == 503
    for path, form in ((f"/u/{TOKEN}", {}), (f"/p/{TOKEN}", {"choice": "everything"})):
        response = client.post(path, data=form)
        assert response.status_code == 503
        assert "Nothing has changed" in response.text
    assert client.get(f"/u/{TOKEN}").status_code == 200
    assert "customer.example" not in caplog.text


# --- unsubscribe ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("path", ["/u/", "/p/"])
def test_scanners_that_open_every_link_change_nothing(client, ledger, method, path):
    response = client.request(method, path + TOKEN)
    assert response.status_code in (200, 405)
    assert suppressed(ledger) == set()


@pytest.mark.parametrize(
    ("options", "source"),
    [
        ({"data": {"List-Unsubscribe": "One-Click"}}, "one_click"),
        ({"files": {"List-Unsubscribe": (None, "One-Click")}}, "one_click"),
        ({"data": {"confirm": "yes"}}, "unsubscribe_page"),
        ({}, "unsubscribe_page"),
    ],
)
def test_one_click_stops_the_topic_before_the_answer(client, ledger, options, source):
    for _ in range(2):  # again changes nothing
        response = client.post(f"/u/{TOKEN}", **options)
        assert response.status_code == 200
        assert "set-cookie" not in response.headers
        assert suppressed(ledger) == {("training", source)}


@pytest.mark.parametrize("path", ["/u/x/", "/p/x/", "/webhooks/sendgrid/"])
def test_nobody_is_sent_elsewhere(client, path):
    assert client.post(path, content=b"List-Unsubscribe=One-Click").status_code == 404


def test_the_page_holds_a_button_that_does_it(client, ledger):
    page = client.get(f"/u/{TOKEN}")
    action = re.search(r'<form method="post" action="([^"]+)"', page.text)[1]
    assert client.post(action, data={"confirm": "yes"}).status_code == 200
    assert suppressed(ledger) == {("training", "unsubscribe_page")}


@pytest.mark.parametrize("path", ["/u/", "/p/"])
@pytest.mark.parametrize("token", ["x", TOKEN[:-2] + "zz", TOKEN + "A", "a" * 5_000, "<script>", "%00", "%2e%2e"])
def test_a_forged_token_stops_nothing_and_is_told_so(client, ledger, path, token):
    response = client.post(path + token, data={"choice": "everything", "List-Unsubscribe": "One-Click"})
    assert response.status_code in (400, 404)
    assert "<script>" not in response.text
    assert suppressed(ledger) == set()


def test_a_page_looks_the_same_for_any_token(client):
    for path in ("/u/", "/p/"):
        real, forged = (client.get(path + token).text.replace(token, "") for token in (TOKEN, "x" * len(TOKEN)))
        assert real == forged


def test_nobody_learns_whether_we_know_a_person(client):
    stranger = TOKENS.sign(Claim(contact_id="nobody", topic="training", feature_key="boards"))
    known, unknown = (client.post(f"/u/{token}") for token in (TOKEN, stranger))
    assert known.status_code == unknown.status_code == 200
    assert known.text.replace(TOKEN, "") == unknown.text.replace(stranger, "")


def test_a_form_that_is_too_long_is_not_read(client, ledger):
    for path in ("/u/", "/p/"):
        assert client.post(path + TOKEN, content=b"x" * 20_000).status_code == 413
    assert suppressed(ledger) == set()


def test_no_scanner_and_no_forger_stops_anybody_and_two_clicks_stop_once(tmp_path):
    """T10; `make soak` runs more."""
    ledger = open_ledger(f"sqlite:///{tmp_path / 'visited.sqlite3'}", KEYS)
    visited = Visited(ledger, 100)
    for found in (asyncio.run(visited.visit(1, opens=1_000, forged=1_000)), asyncio.run(visited.click_twice())):
        assert found.losses == ()
    ledger.close()


def test_an_unsubscribe_counts_for_every_address_or_for_none(ledger, client, monkeypatch):
    """Who was mailed at two addresses is not left half subscribed when the ledger fails in between."""
    moved = pa.table({"contact_id": ["c1"], "account_id": ["a1"], "address": ["eve@new.example"]})
    hashes = [ledger.people.address_hash_of("c1")]
    ledger.people.load(moved, now=NOW)
    monkeypatch.setattr("uptake.adapters.ledger.people._address_hashes", lambda *_: [*hashes, None])
    assert client.post(f"/u/{TOKEN}").status_code == 503
    assert suppressed(ledger) == set()


def test_bodies_that_come_while_others_are_stored_share_one_commit(ledger, monkeypatch):
    """And each is answered after its own."""
    commits: list[int] = []

    class Slow:
        def __getattr__(self, name: str) -> object:
            return getattr(ledger.delivery, name)

        def store_all(self, bodies, *, now):
            time.sleep(0.05)
            assert len(ledger.delivery.unfolded(99)) == sum(commits) == answered()
            commits.append(len(bodies))
            return ledger.delivery.store_all(bodies, now=now)

    done: list[int] = []

    def answered() -> int:
        return len(done)

    ledger_that_waits = SimpleNamespace(delivery=Slow(), people=ledger.people)
    app = create_public_app(
        ledger_that_waits, tokens=TOKENS, clock=FixedClock(NOW), webhook_keys=(PRIVATE.public_key(),)
    )

    async def post() -> None:
        answer = await call(app, "POST", "/webhooks/sendgrid", headers=list(headers().items()), body=BODY)
        assert answer.status == 204
        done.append(1)

    async def one_and_then_many() -> None:
        first = asyncio.create_task(post())
        await asyncio.sleep(0.01)
        await asyncio.gather(first, *(post() for _ in range(19)))

    asyncio.run(one_and_then_many())
    assert commits == [1, 19]
    monkeypatch.setattr("uptake.web_public._MAX_COMMIT_BYTES", 8 * len(BODY))
    asyncio.run(one_and_then_many())
    assert commits[2:] == [1, 8, 8, 3], "no transaction grows beyond its limit"


def test_when_a_shared_commit_fails_none_of_its_bodies_is_acknowledged(ledger):
    class Full:
        def store_all(self, bodies, *, now):
            time.sleep(0.02)
            raise LedgerError("the disk is full")

    app = create_public_app(
        SimpleNamespace(delivery=Full()), tokens=TOKENS, clock=FixedClock(NOW), webhook_keys=(PRIVATE.public_key(),)
    )

    async def all_at_once() -> list[int]:
        post = [call(app, "POST", "/webhooks/sendgrid", headers=list(headers().items()), body=BODY) for _ in range(9)]
        return [answer.status for answer in await asyncio.gather(*post)]

    assert asyncio.run(all_at_once()) == [503] * 9


# --- preferences ------------------------------------------------------------------------------------------


def buttons(page: str) -> dict[str, str]:
    """Return label -> value of each button."""
    found = re.findall(r'<button type="submit" name="choice" value="([^"]+)">\s*(.*?)\s*</button>', page, re.DOTALL)
    return {label: value for value, label in found}


def test_each_topic_and_everything_can_be_stopped(client, ledger):
    choices = buttons(client.get(f"/p/{TOKEN}").text)
    client.post(f"/p/{TOKEN}", data={"choice": choices["Stop e-mails about news"]})
    assert suppressed(ledger) == {("news", "preference_page")}
    client.post(f"/p/{TOKEN}", data={"choice": choices["Stop all e-mails of this kind from us"]})
    assert suppressed(ledger) == {("news", "preference_page"), ("", "preference_page")}


def test_answers_about_the_feature_are_kept_and_suppress_nobody(client, ledger):
    choices = buttons(client.get(f"/p/{TOKEN}").text)
    labels = ("We do not need this feature", "I already do this", "A colleague is the right person for this")
    for label in labels:
        assert client.post(f"/p/{TOKEN}", data={"choice": choices[label]}).status_code == 200
    with ledger._store.read() as connection:
        rows = connection.exec_driver_sql("select contact_id, kind, value from preferences").all()
    assert {tuple(row) for row in rows} == {
        ("c1", "not_needed", "boards"),
        ("c1", "already_do", "boards"),
        ("c1", "colleague", "boards"),
    }
    assert suppressed(ledger) == set()


def test_an_answer_is_shown_can_be_changed_and_taken_back(client, ledger):
    path, about = f"/p/{TOKEN}", {"feature_key": "boards"}
    unanswered = client.get(path).text
    assert "Take this answer back" not in unanswered
    for choice in ("already_do", "not_needed", "not_needed"):
        assert client.post(path, data={"choice": choice}).status_code == 200
    assert "You told us: “We do not need this feature”." in client.get(path).text
    choices = buttons(client.get(path).text)
    assert "We do not need this feature" not in choices
    assert "I already do this" in choices
    first, again = (client.post(path, data={"choice": choices["Take this answer back"]}) for _ in range(2))
    assert (first.status_code, first.text) == (200, again.text)
    assert "Your answer is taken back." in first.text
    assert ledger.people.answer_of("c1", **about) is None
    assert client.get(path).text == unanswered
    kinds = [row["kind"] for row in ledger.read("contact_preferences", contact_id="c1")]
    assert kinds == ["already_do", "not_needed", "taken_back"], "the same again is the same"


def test_looking_changes_no_answer_and_tells_a_forger_nothing(client, ledger):
    forged = TOKEN[:-3] + "AAA"
    ledger.people.answer("c1", kind="colleague", feature_key="boards", now=NOW)
    unanswered = client.get(f"/p/{TOKENS.sign(Claim(contact_id='c2', topic='training', feature_key='boards'))}").text
    shown = client.get(f"/p/{forged}").text
    assert re.sub('/p/[^"]+', "", shown) == re.sub('/p/[^"]+', "", unanswered)
    for token, status in ((forged, 400), (TOKEN, 200)):
        client.get(f"/p/{token}?choice=take_back")
        assert ledger.people.answer_of("c1", feature_key="boards") == "colleague"
        assert client.post(f"/p/{token}", data={"choice": "take_back"}).status_code == status
    assert ledger.people.answer_of("c1", feature_key="boards") is None


def test_a_mail_about_no_feature_asks_nothing_about_it(client, ledger):
    path = f"/p/{TOKENS.sign(Claim(contact_id='c1', topic='news', feature_key=''))}"
    assert not {"I already do this", "Take this answer back"} & buttons(client.get(path).text).keys()
    for choice in ("already_do", "take_back"):
        assert client.post(path, data={"choice": choice}).status_code == 400
    assert ledger.read("contact_preferences", contact_id="c1") == []


def test_a_ledger_that_cannot_be_read_hides_no_button():
    def locked(*_args, **_more):
        raise LedgerError("the database is locked")

    answer = a_client(SimpleNamespace(people=SimpleNamespace(answer_of=locked))).get(f"/p/{TOKEN}")
    assert answer.status_code == 200
    assert "Stop all e-mails of this kind from us" in buttons(answer.text)


@pytest.mark.parametrize("choice", ["", "topic:", "topic:unknown", "nothing", "topic", "everything:x", "not_needed:x"])
def test_a_choice_nobody_offered_changes_nothing(client, ledger, choice):
    assert client.post(f"/p/{TOKEN}", data={"choice": choice}).status_code == 400
    assert suppressed(ledger) == set()


# --- every page -------------------------------------------------------------------------------------------


class _Outline(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.language = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "html":
            self.language = dict(attrs)["lang"]


def test_pages_are_plain_accessible_and_private(client):
    responses = [
        client.get(f"/u/{TOKEN}"),
        client.get(f"/p/{TOKEN}"),
        client.post(f"/u/{TOKEN}"),
        client.post("/u/x"),
    ]
    for response in responses:
        outline = _Outline()
        outline.feed(response.text)
        assert outline.language == "en"
        assert outline.tags.count("h1") == outline.tags.count("main") == outline.tags.count("title") == 1
        assert not {"script", "img", "link", "iframe"} & set(outline.tags)
        assert "set-cookie" not in response.headers
        assert response.headers["referrer-policy"] == "no-referrer"
        assert response.headers["cache-control"] == "no-store"
        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert "customer.example" not in response.text
