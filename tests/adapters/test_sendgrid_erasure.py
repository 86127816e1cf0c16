from __future__ import annotations

import json

import httpx
import pytest

from uptake.adapters.sendgrid_erasure import SendGridEraser
from uptake.errors import MailerError, MailerUnavailable, SendingForbidden, SettingsError


def eraser(handler) -> SendGridEraser:
    return SendGridEraser("https://api.sendgrid.com", "SG.x", transport=httpx.MockTransport(handler))


def test_one_job_is_ordered_for_the_address():
    def handler(request: httpx.Request) -> httpx.Response:
        assert (request.method, request.url.path) == ("POST", "/v3/recipients/erasejob")
        assert json.loads(request.content) == {"email_addresses": ["ann@customer.example"]}
        return httpx.Response(202, json={"job_id": "j1"})

    assert eraser(handler).erase("ann@customer.example") == "j1"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (401, SendingForbidden),
        (403, SendingForbidden),
        (429, MailerUnavailable),
        (503, MailerUnavailable),
        (400, MailerError),
    ],
)
def test_every_other_answer_is_an_error_without_the_address(status, expected):
    with pytest.raises(expected) as caught:
        eraser(lambda _: httpx.Response(status, text="ann@customer.example")).erase("ann@customer.example")
    assert "customer" not in str(caught.value)


def test_a_service_that_cannot_be_reached_is_asked_again_later():
    def handler(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no route", request=request)

    with pytest.raises(MailerUnavailable):
        eraser(handler).erase("ann@customer.example")


def test_a_missing_key_is_said_at_once():
    with pytest.raises(SettingsError, match="SENDGRID_API_KEY"):
        SendGridEraser("https://api.sendgrid.com", "")
