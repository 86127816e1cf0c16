from __future__ import annotations

import json
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage

import httpx
import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from uptake.adapters.sendgrid import SEND_ID_ARG, SendGridMailer
from uptake.domain.eligibility import Reason
from uptake.domain.playbooks import Release
from uptake.errors import (
    AcceptanceUnknown,
    MailerError,
    MailerUnavailable,
    MessageRefused,
    PlaybookError,
    SendingForbidden,
    SettingsError,
    UnexpectedAnswer,
)
from uptake.ports import MailBatch, Recipient, Rendered
from uptake.sandbox.fakegrid.validation import problems
from uptake.testing import FixedClock

NOW = datetime(2026, 3, 3, 9, tzinfo=UTC)
KEY = "SG.test-key"
BODY = (
    "Hi {{ contact.given_name | d('you') }}, **try** [{{ feature.name }}]({{ feature.guide_url }}). {{ account.plan }}"
)
LAYOUT = (
    "<mjml><mj-head><mj-title>[[subject]]</mj-title></mj-head><mj-body><mj-section><mj-column>"
    '<mj-text>[[body]]</mj-text><mj-text><a href="[[unsubscribe_url]]">Stop</a> [[postal_address]]</mj-text>'
    "</mj-column></mj-section></mj-body></mjml>"
)
SAID = Rendered(body=b"{}", body_hash="h", send_ids=("s0",), refused={})


def a_release(body: str = BODY) -> Release:
    return Release.model_validate(
        {
            "name": "activate",
            "playbook": {
                "teaches": "dashboards",
                "topic": "training",
                "audience": {"where": "account.plan == 'team'"},
                "goal": {"within": "28d"},
                "holdout": "10%",
                "stages": {"why": {"email": "why.md"}},
            },
            "workspace": {
                "sender": {"name": "Ada, of Acme; Support", "address": "ada@acme.example"},
                "reply_to": {"name": "Help", "address": "help@acme.example"},
                "postal_address": "Acme, 1 Road, 12345 Town",
                "topics": {"training": 7, "news": 8},
                "caps": {"person": {"mails": 2, "per": "7d"}, "account": {"mails": 9, "per": "7d"}},
                "window": {"start": "09:00", "end": "17:00"},
                "allowed_links": ["docs.acme.example"],
            },
            "texts": {"why": {"subject": "{{ feature.name }} for {{ contact.given_name | d('you') }}", "body": body}},
            "layout": LAYOUT,
        }
    )


def a_recipient(number: int = 0, **changes: object) -> Recipient:
    fields = {
        "account": {"plan": "team"},
        "contact": {"given_name": changes.pop("given_name", f"Eve{number}")},
        "feature": {"name": "Boards", "guide_url": "https://docs.acme.example/g", "adoption_state": "tried"},
    }
    values: dict[str, object] = {
        "send_id": f"s{number}",
        "contact_id": f"c{number}",
        "address": f"eve{number}@customer.example",
        "full_name": f"Eve {number}",
        "fields": fields,
        "unsubscribe_url": f"https://mail.acme.example/u/t{number}",
    }
    return Recipient(**{**values, **changes})


def a_batch(*recipients: Recipient, body: str = BODY) -> MailBatch:
    return MailBatch(release=a_release(body), stage_key="why", recipients=recipients)


def a_mailer(handler: Callable[[httpx.Request], httpx.Response] | None = None, **options: object) -> SendGridMailer:
    transport = httpx.MockTransport(handler or (lambda request: httpx.Response(202)))
    return SendGridMailer("https://api.sendgrid.com", KEY, transport=transport, clock=FixedClock(NOW), **options)


def posted(response: httpx.Response, **options: object) -> str | None:
    return a_mailer(lambda request: response, **options).post(SAID)


# --- the body -------------------------------------------------------------------------------------------


def test_the_body_is_what_sendgrid_expects():
    rendered = a_mailer().render(a_batch(a_recipient(0), a_recipient(1)))
    body = json.loads(rendered.body)
    assert rendered.send_ids == ("s0", "s1")
    assert body["from"] == {"email": "ada@acme.example", "name": "Ada of Acme Support"}
    assert body["reply_to"] == {"email": "help@acme.example", "name": "Help"}
    assert body["asm"] == {"group_id": 7}
    assert [part["type"] for part in body["content"]] == ["text/plain", "text/html"]
    assert body["tracking_settings"] == {
        "click_tracking": {"enable": False, "enable_text": False},
        "open_tracking": {"enable": False},
        "subscription_tracking": {"enable": False},
    }
    assert "mail_settings" not in body
    person = body["personalizations"][1]
    assert person["to"] == [{"email": "eve1@customer.example", "name": "Eve 1"}]
    assert person["subject"] == "Boards for Eve1"
    assert person["custom_args"] == {SEND_ID_ARG: "s1"}
    assert person["headers"] == {
        "List-Unsubscribe": "<https://mail.acme.example/u/t1>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }
    html = body["content"][1]["value"]
    for tag, value in person["substitutions"].items():
        html = html.replace(tag, value)
    assert "Hi Eve1, <strong>try</strong>" in html
    assert 'href="https://mail.acme.example/u/t1"' in html


def test_nothing_about_a_person_is_outside_their_personalization():
    body = json.loads(a_mailer().render(a_batch(a_recipient(0))).body)
    del body["personalizations"]
    assert not re.search(r"eve|s0|t0", json.dumps(body), re.IGNORECASE)


def test_tracking_is_on_only_when_asked_for():
    mailer = a_mailer(track_opens=True, track_clicks=True)
    settings = json.loads(mailer.render(a_batch(a_recipient())).body)["tracking_settings"]
    assert settings["open_tracking"]["enable"] is True
    assert settings["click_tracking"]["enable"] is True
    assert settings["subscription_tracking"]["enable"] is False


def test_the_hash_is_of_the_very_body():
    mailer = a_mailer()
    one, two = (mailer.render(a_batch(a_recipient(n))) for n in (0, 1))
    assert one.body_hash != two.body_hash
    assert one.body_hash == mailer.render(a_batch(a_recipient(0))).body_hash


def test_one_persons_missing_value_stops_nobody_else():
    nobody = {"account": {"plan": None}, "contact": {}, "feature": {}}
    rendered = a_mailer().render(a_batch(a_recipient(0), a_recipient(1, fields=nobody), a_recipient(2)))
    assert rendered.send_ids == ("s0", "s2")
    assert rendered.refused == {"s1": Reason.VALUE_MISSING}


@pytest.mark.parametrize("address", ["", "no address", "a@b", "a@b.example\r\nBcc: x@y.example"])
def test_who_has_no_usable_address_is_left_out(address):
    rendered = a_mailer().render(a_batch(a_recipient(0, address=address)))
    assert rendered.refused == {"s0": Reason.LEFT}
    assert rendered.send_ids == ()
    assert rendered.body == b""


def test_an_address_stands_in_a_request_once():
    twice = a_recipient(1, address="EVE0@customer.example")
    rendered = a_mailer().render(a_batch(a_recipient(0), twice, a_recipient(2)))
    assert rendered.send_ids == ("s0", "s2")
    assert rendered.refused == {}


def test_a_message_with_too_much_of_its_own_goes_alone():
    mailer, long = a_mailer(), a_recipient(1, given_name="é" * 3000)
    first = mailer.render(a_batch(a_recipient(0), long, a_recipient(2)))
    assert first.send_ids == ("s0", "s2")
    second = mailer.render(a_batch(long, a_recipient(3)))
    assert second.send_ids == ("s1",)
    body = json.loads(second.body)
    assert "substitutions" not in body["personalizations"][0]
    assert "é" * 3000 in body["content"][0]["value"]
    assert "-u" not in body["content"][0]["value"]


def test_a_request_holds_at_most_a_thousand():
    rendered = a_mailer().render(a_batch(*(a_recipient(n) for n in range(1_001))))
    assert len(rendered.send_ids) == 1_000


def test_a_broken_text_is_the_playbooks_fault():
    with pytest.raises(PlaybookError, match="stage why"):
        a_mailer().render(a_batch(a_recipient(), body="{{ nothing }}"))


HOSTILE = st.one_of(
    st.text(alphabet=st.sampled_from(list("ab<>{}%[]-;,\"'\r\n\x00\u202e\ud800é\\")), min_size=1), st.text(min_size=1)
)


@given(given_name=HOSTILE, full_name=HOSTILE)
def test_hostile_names_neither_break_the_body_nor_enter_a_header(given_name, full_name):
    rendered = a_mailer().render(a_batch(a_recipient(0, given_name=given_name, full_name=full_name)))
    body = json.loads(rendered.body)
    (person,) = body["personalizations"]
    assert set(person["headers"]) == {"List-Unsubscribe", "List-Unsubscribe-Post"}
    message = EmailMessage()
    message["Subject"] = person["subject"]  # refuses line breaks
    message["To"] = person["to"][0].get("name", "")
    assert not re.search(r"[;,]", person["to"][0].get("name", ""))


@pytest.fixture(scope="session")
def schema(shared_data) -> dict:
    """What SendGrid's OpenAPI says of a mail/send body."""
    api = json.loads((shared_data / "sendgrid-openapi" / "tsg_mail_v3.json").read_text())
    content = api["components"]["requestBodies"]["PostMailSend"]["content"]["application/json"]
    return {**content["schema"], "components": api["components"]}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(HOSTILE, min_size=1, max_size=4), sandbox=st.booleans())
def test_every_body_meets_sendgrids_openapi(schema, names, sandbox):
    recipients = (a_recipient(number, given_name=name, full_name=name) for number, name in enumerate(names))
    body = json.loads(a_mailer(sandbox=sandbox).render(a_batch(*recipients)).body)
    jsonschema.Draft202012Validator(schema).validate(body)
    assert set(body) <= set(schema["properties"])
    assert set(body["personalizations"][0]) <= set(schema["properties"]["personalizations"]["items"]["properties"])
    assert not [name for name in body.get("mail_settings", {}) if name.startswith("bypass")]


def test_the_openapi_check_can_fail(schema):
    body = json.loads(a_mailer().render(a_batch(a_recipient())).body)
    body["personalizations"][0]["subject"] = ""
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema).validate(body)


@given(names=st.lists(HOSTILE, min_size=1, max_size=4))
def test_every_body_meets_the_limits_that_the_openapi_does_not_tell(names):
    recipients = (a_recipient(number, given_name=name, full_name=name) for number, name in enumerate(names))
    body = json.loads(a_mailer().render(a_batch(*recipients)).body)
    assert problems(body, now=NOW, groups=frozenset({7, 8})) == []


# --- the decision table: whole answers --------------------------------------------------------------------


def errors(*found: tuple[str, str | None]) -> bytes:
    return json.dumps({"errors": [{"message": m, "field": f, "help": None} for m, f in found]}).encode()


def test_202_is_accepted_with_or_without_an_id():
    assert posted(httpx.Response(202, headers={"X-Message-Id": "abc"})) == "abc"
    assert posted(httpx.Response(202)) is None


def test_the_request_is_one_post_with_the_very_body():
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(202)

    a_mailer(handler).post(Rendered(body=b'{"a": 1}', body_hash="h", send_ids=("s",), refused={}))
    (request,) = seen
    assert (request.method, str(request.url)) == ("POST", "https://api.sendgrid.com/v3/mail/send")
    assert request.content == b'{"a": 1}'
    assert request.headers["authorization"] == f"Bearer {KEY}"


def test_200_is_right_in_the_sandbox_and_only_there():
    assert posted(httpx.Response(200), sandbox=True) is None
    with pytest.raises(UnexpectedAnswer):
        posted(httpx.Response(200))
    with pytest.raises(UnexpectedAnswer):
        posted(httpx.Response(202), sandbox=True)


@pytest.mark.parametrize("status", [201, 204, 301, 302, 307, 308, 402, 408, 409, 418, 422])
def test_an_answer_sendgrid_does_not_give_is_unknown_and_stops_the_run(status):
    with pytest.raises(UnexpectedAnswer, match=str(status)):
        posted(httpx.Response(status, headers={"Location": "https://elsewhere.example/"}))


@pytest.mark.parametrize("status", [500, 502, 503, 504, 599])
@pytest.mark.parametrize("body", [b"", b"<html>bad gateway</html>", errors(("x", None)), b'{"errors": 7}', b"\xff"])
def test_a_server_error_is_unknown_whatever_it_says(status, body):
    with pytest.raises(AcceptanceUnknown) as error:
        posted(httpx.Response(status, content=body))
    assert not isinstance(error.value, UnexpectedAnswer)


@pytest.mark.parametrize(
    ("found", "recipient"),
    [
        ([("Does not contain a valid address.", "personalizations.3.to")], 3),
        ([("Does not contain a valid address.", "personalizations.12.to.0.email")], 12),
        ([("bad", None), ("Does not contain a valid address.", "personalizations.1.to.0.email")], 1),
        ([("bad", "personalizations.1.subject")], None),
        ([("bad", "personalizations.1.total")], None),
        ([("Bad Request", None)], None),
        ([("bad", "content.0.value")], None),
    ],
)
def test_a_400_tells_which_address_if_it_names_one(found, recipient):
    with pytest.raises(MessageRefused) as error:
        posted(httpx.Response(400, content=errors(*found)))
    assert error.value.recipient == recipient


@pytest.mark.parametrize("status", [400, 404, 405, 413])
def test_other_refusals_name_nobody(status):
    with pytest.raises(MessageRefused) as error:
        posted(httpx.Response(status, content=b"<html>"))
    assert error.value.recipient is None


def test_what_sendgrid_says_is_kept_without_addresses():
    with pytest.raises(MessageRefused) as error:
        posted(httpx.Response(400, content=errors(("eve@customer.example is no address", "personalizations.0.to"))))
    assert "[address] is no address" in str(error.value)
    assert "eve@" not in str(error.value)


@pytest.mark.parametrize(("status", "said"), [(401, "Maximum credits exceeded"), (401, "wrong key"), (403, "sender")])
def test_a_refused_key_credit_or_sender_forbids_all_sending(status, said):
    with pytest.raises(SendingForbidden, match=said):
        posted(httpx.Response(status, content=errors((said, None))))


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"X-RateLimit-Reset": str(int(NOW.timestamp()) + 42)}, 42),
        ({"X-RateLimit-Reset": str(int(NOW.timestamp()) - 42)}, 2),
        ({"X-RateLimit-Reset": "soon"}, 2),
        ({"X-RateLimit-Reset": str(1000 * int(NOW.timestamp()))}, 2),  # milliseconds: the year 58,000
        ({"X-RateLimit-Reset": "inf"}, 2),
        ({"X-RateLimit-Reset": "nan", "Retry-After": "nan"}, 2),
        ({"Retry-After": "1e300"}, 2),
        ({"Retry-After": "7"}, 7),
        ({}, 2),
    ],
)
def test_429_says_how_long_to_wait(headers, wait):
    with pytest.raises(MailerUnavailable) as error:
        posted(httpx.Response(429, headers=headers))
    assert error.value.retry_after == wait


@pytest.mark.parametrize(
    ("remaining", "reset", "wait"),
    [
        ("0", NOW.timestamp() + 42, 42),
        ("-1", NOW.timestamp() + 42, 42),
        ("3", NOW.timestamp() + 42, 0),
        (None, NOW.timestamp() + 42, 0),
        ("0", None, 0),
        ("0", NOW.timestamp() - 42, 0),
        ("0", 1000 * NOW.timestamp(), 0),
        ("0", "soon", 0),
        ("none", NOW.timestamp() + 42, 0),
    ],
)
def test_an_acceptance_says_when_nothing_more_is_taken(remaining, reset, wait):
    named = {"X-RateLimit-Remaining": remaining, "X-RateLimit-Reset": reset}
    answers = iter([{name: str(value) for name, value in named.items() if value is not None}, {}])
    mailer = a_mailer(lambda request: httpx.Response(202, headers=next(answers)))
    mailer.post(SAID)
    assert mailer.seconds_to_wait == wait
    mailer.post(SAID)
    assert mailer.seconds_to_wait == 0


def test_without_a_reset_the_pauses_grow_to_a_minute_and_shrink_after_a_success():
    statuses = iter([429] * 8 + [202, 429])
    mailer = a_mailer(lambda request: httpx.Response(next(statuses)))
    waits = []
    for _ in range(10):
        try:
            mailer.post(SAID)
        except MailerUnavailable as error:
            waits.append(error.retry_after)
    assert waits == [2, 4, 8, 16, 32, 60, 60, 60, 2]


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (httpx.ConnectError("x"), MailerUnavailable),
        (httpx.ConnectTimeout("x"), MailerUnavailable),
        (httpx.PoolTimeout("x"), MailerUnavailable),
        (httpx.WriteTimeout("x"), AcceptanceUnknown),
        (httpx.WriteError("x"), AcceptanceUnknown),
        (httpx.ReadTimeout("x"), AcceptanceUnknown),
        (httpx.ReadError("x"), AcceptanceUnknown),
        (httpx.RemoteProtocolError("x"), AcceptanceUnknown),
        (httpx.DecodingError("x"), AcceptanceUnknown),
    ],
)
def test_only_a_certain_failure_may_be_sent_again(raised, expected):
    def handler(request: httpx.Request) -> httpx.Response:
        raise raised

    with pytest.raises(MailerError) as error:
        a_mailer(handler).post(SAID)
    assert type(error.value) is expected


# --- the decision table: what happens on a wire ------------------------------------------------------------


@contextmanager
def a_server(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that treats one connection as it is told."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def run() -> None:
            connection, _ = listening.accept()
            with connection:
                serve(connection)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread.join(timeout=5)


def read_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(re.search(rb"content-length: (\d+)", head, re.IGNORECASE)[1])
    while len(body) < length:
        body += connection.recv(65536)
    return body


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def answer(raw: bytes, *, hang: bool = False) -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(raw)
        if hang:
            connection.recv(1)

    return serve


def reset_after_reading(connection: socket.socket) -> None:
    read_request(connection)
    reset(connection)


def reset_before_reading(connection: socket.socket) -> None:
    connection.recv(1)
    reset(connection)


def no_answer(connection: socket.socket) -> None:
    read_request(connection)
    connection.recv(1)


def over_the_wire(serve: Callable[[socket.socket], None]) -> str | None:
    timeout = httpx.Timeout(connect=2, write=2, read=0.2, pool=2)
    with a_server(serve) as url:
        mailer = SendGridMailer(url, KEY, timeout=timeout)
        try:
            return mailer.post(SAID)
        finally:
            mailer.close()


@pytest.mark.parametrize(
    "serve",
    [
        answer(b"HTTP/1.1 202 Accepted\r\nX-Message-Id: abc\r\nContent-Length: 0\r\n\r\n"),
        answer(b"HTTP/1.1 202 Accepted\r\nX-Message-Id: abc\r\nContent-Length: 99\r\n\r\ncut"),
        answer(b"HTTP/1.1 202 Accepted\r\nX-Message-Id: abc\r\nContent-Length: 99\r\n\r\n", hang=True),
        answer(b"HTTP/1.1 202 Accepted\r\nX-Message-Id: abc\r\nTransfer-Encoding: chunked\r\n\r\nzz"),
    ],
    ids=["whole", "body cut", "body never comes", "body broken"],
)
def test_a_202_status_line_counts_whatever_comes_after(serve):
    assert over_the_wire(serve) == "abc"


@pytest.mark.parametrize(
    "serve",
    [
        no_answer,
        reset_after_reading,
        reset_before_reading,
        answer(b""),
        answer(b"HTTP/1.1 20"),
        answer(b"<html>bad gateway</html>"),
        answer(b"HTTP/1.1 500 Oops\r\nContent-Length: 99\r\n\r\ncut"),
        answer(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 99\r\n\r\ncut"),
    ],
    ids=["time-out", "RST after", "RST before", "FIN", "cut status line", "no status line", "cut 500", "cut 400"],
)
def test_without_a_whole_answer_nobody_knows(serve):
    with pytest.raises(AcceptanceUnknown):
        over_the_wire(serve)


def test_a_refused_connection_is_certain():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(MailerUnavailable) as error:
        SendGridMailer(f"http://127.0.0.1:{port}", KEY).post(SAID)
    assert error.value.retry_after is None


def test_no_proxy_of_the_environment_is_used(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    assert over_the_wire(answer(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")) is None


# --- settings ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [None, "", "SG.a b", "SG.a\r\nX: y", "SG.é"])
def test_a_missing_or_impossible_key_is_said_in_one_line_without_it(key):
    with pytest.raises(SettingsError) as error:
        SendGridMailer("https://api.sendgrid.com", key)
    assert "\n" not in str(error.value)
    assert "SENDGRID_API_KEY" in str(error.value)
    assert "SG.a" not in str(error.value)


@pytest.mark.parametrize("url", ["http://api.sendgrid.com", "http://10.0.0.1", "ftp://127.0.0.1", "sendgrid.com", ""])
def test_mail_leaves_encrypted(url):
    with pytest.raises(SettingsError, match="https://"):
        SendGridMailer(url, KEY)


@pytest.mark.parametrize(
    "url", ["https://api.eu.sendgrid.com", "http://127.0.0.1:8", "http://localhost:8", "http://[::1]:8"]
)
def test_the_loopback_needs_no_encryption(url):
    SendGridMailer(url, KEY)


def test_no_secret_is_shown():
    assert KEY not in repr(a_mailer())
    assert KEY not in repr(vars(a_mailer()))


def test_the_pause_ends_at_the_reset_on_the_engines_clock():
    clock = FixedClock(NOW + timedelta(seconds=30))
    reset_at = str(int(NOW.timestamp()) + 42)
    transport = httpx.MockTransport(lambda request: httpx.Response(429, headers={"X-RateLimit-Reset": reset_at}))
    with pytest.raises(MailerUnavailable) as error:
        SendGridMailer("https://api.sendgrid.com", KEY, transport=transport, clock=clock).post(SAID)
    assert error.value.retry_after == 12
