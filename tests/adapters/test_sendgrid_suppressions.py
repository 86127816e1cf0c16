from __future__ import annotations

import json

import httpx
import pytest

from uptake.adapters.sendgrid_suppressions import OVERLAP, PAGE, SendGridSuppressions
from uptake.domain.sends import SuppressionReason
from uptake.errors import MailerError, MailerUnavailable, SendingForbidden, SettingsError

UNSUBSCRIBED = SuppressionReason.UNSUBSCRIBED


def lists(handler) -> SendGridSuppressions:
    transport = httpx.MockTransport(handler)
    return SendGridSuppressions("https://api.sendgrid.com", "SG.x", transport=transport, wait=lambda _: None)


@pytest.mark.parametrize("count", [0, 1, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE])
def test_every_page_is_read_though_the_list_shifts_meanwhile(count):
    entries = [{"email": f"P{number}@x.example"} for number in range(count)]

    def handler(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/v3/suppression/unsubscribes"
        offset, limit = int(request.url.params["offset"]), int(request.url.params["limit"])
        page = entries[offset : offset + limit]
        if len(entries) > PAGE:
            del entries[: OVERLAP // 2]  # somebody was taken off while it was read
        return httpx.Response(200, json=page)

    found = lists(handler).of_everything(UNSUBSCRIBED)
    assert {f"p{number}@x.example" for number in range(OVERLAP * 2, count)} <= found


@pytest.mark.parametrize(
    ("group", "path"), [(7, "/v3/asm/groups/7/suppressions"), (None, "/v3/asm/suppressions/global")]
)
def test_addresses_are_added_a_thousand_at_a_time(group, path):
    told: list[int] = []

    def handler(request: httpx.Request) -> httpx.Response:
        assert (request.method, request.url.path) == ("POST", path)
        told.append(len(json.loads(request.content)["recipient_emails"]))
        return httpx.Response(201, json={})

    lists(handler).add([f"p{number}@x.example" for number in range(1_001)], group=group)
    assert told == [1_000, 1]


def test_a_hiccup_is_waited_out_and_an_outage_said():
    answers = iter([503, 429])

    def handler(request: httpx.Request) -> httpx.Response:
        status = next(answers, 200)
        return httpx.Response(status, json=["Ann@x.example "] if status == 200 else {})

    assert lists(handler).of_group(7) == {"ann@x.example"}
    with pytest.raises(MailerUnavailable, match="500"):
        lists(lambda _: httpx.Response(500)).of_group(7)


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (httpx.Response(401), SendingForbidden),
        (httpx.Response(403), SendingForbidden),
        (httpx.Response(404), MailerError),
        (httpx.Response(200, text="<html>"), MailerError),
        (httpx.Response(200, json={"errors": []}), MailerError),
        (httpx.Response(200, json=[{"email": 7}]), MailerError),
    ],
)
def test_what_is_no_list_is_an_error(response, expected):
    with pytest.raises(expected):
        lists(lambda _: response).of_everything(UNSUBSCRIBED)


def test_a_missing_key_is_said_at_once():
    with pytest.raises(SettingsError, match="SENDGRID_API_KEY"):
        SendGridSuppressions("https://api.sendgrid.com", None)
