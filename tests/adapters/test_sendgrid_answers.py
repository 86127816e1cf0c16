from __future__ import annotations

import json

import httpx
import pytest

from tests.adapters.mail_requests import KEY, NOW, SAID, a_mailer, posted
from uptake.errors import (
    AcceptanceUnknown,
    MailerError,
    MailerUnavailable,
    MessageRefused,
    SendingForbidden,
    UnexpectedAnswer,
)
from uptake.ports import Rendered


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
        ([("must not contain CRLF", "personalizations.1.to.0.name")], None),
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
        ({"X-RateLimit-Reset": str(int(NOW.timestamp()) + 3_600)}, 3_600),
        ({"X-RateLimit-Reset": str(int(NOW.timestamp()) + 3_601)}, 2),
        ({"X-RateLimit-Reset": "soon"}, 2),
        ({"X-RateLimit-Reset": str(1000 * int(NOW.timestamp()))}, 2),  # milliseconds: the year 58,000
        ({"X-RateLimit-Reset": "inf"}, 2),
        ({"X-RateLimit-Reset": "nan", "Retry-After": "nan"}, 2),
        ({"Retry-After": "1e300"}, 2),
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "3600"}, 3_600),
        ({"Retry-After": "3601"}, 2),
        ({"Retry-After": "0"}, 2),
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
