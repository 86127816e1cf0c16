"""Whatever our clients ask of SendGrid beside sending is in SendGrid's own documents: path, parameters, body."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from tests.crash.outbox import KEYS, NOW
from tests.sandbox.openapi import Spec
from uptake.adapters.sendgrid_erasure import SendGridEraser
from uptake.adapters.sendgrid_logs import SendGridLogs
from uptake.adapters.sendgrid_suppressions import SendGridSuppressions
from uptake.domain.sends import SuppressionReason

BASE, KEY, ANN = "https://mail.example", "SG.k", "ann@customer.example"


def asked(order: Callable[[httpx.BaseTransport], object], answer: object) -> list[httpx.Request]:
    """Return the requests that an order makes of a service which answers all of them alike."""
    requests: list[httpx.Request] = []

    def respond(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        status = 202 if "erasejob" in request.url.path else 200
        return httpx.Response(status, json=answer)

    order(httpx.MockTransport(respond))
    return requests


def suppressions(transport: httpx.BaseTransport) -> SendGridSuppressions:
    return SendGridSuppressions(BASE, KEY, transport=transport)


def logs(transport: httpx.BaseTransport) -> SendGridLogs:
    return SendGridLogs(BASE, KEY, pseudonym_key=KEYS.pseudonym, transport=transport)


LISTS = [reason for reason in SuppressionReason if reason not in (SuppressionReason.ERASED, SuppressionReason.IMPORTED)]
CALLS: dict[str, tuple[str, Callable[[httpx.BaseTransport], object], object]] = {
    **{
        f"all {reason}": ("suppressions", lambda t, reason=reason: suppressions(t).of_everything(reason), [])
        for reason in LISTS
    },
    "a group": ("suppressions", lambda t: suppressions(t).of_group(7), []),
    "add to a group": ("suppressions", lambda t: suppressions(t).add([ANN], group=7), {}),
    "add to all": ("suppressions", lambda t: suppressions(t).add([ANN], group=None), {}),
    "erase": ("recipients_data_erasure", lambda t: SendGridEraser(BASE, KEY, transport=t).erase(ANN), {"job_id": "j"}),
    "the log of a time": ("logs", lambda t: logs(t).between(NOW - timedelta(hours=1), NOW), {"messages": []}),
    "the log of an address": ("logs", lambda t: logs(t).to_address(ANN, NOW - timedelta(hours=1)), {"messages": []}),
}


@pytest.mark.parametrize("call", CALLS)
def test_it_is_a_call_that_the_document_knows(call: str, shared_data: Path):
    document, order, answer = CALLS[call]
    spec = Spec(shared_data / "sendgrid-openapi" / f"tsg_{document}_v3.json")
    requests = asked(order, answer)
    assert requests
    for request in requests:
        body = json.loads(request.content) if request.content else None
        spec.check_call(request.method, str(request.url), body)


def test_a_call_that_nobody_knows_is_seen(shared_data: Path):
    spec = Spec(shared_data / "sendgrid-openapi" / "tsg_suppressions_v3.json")
    for method, url, body in (
        ("GET", "/v3/suppression/bouncers", None),
        ("GET", "/v3/suppression/bounces?page=2", None),
        ("GET", "/v3/suppression/bounces?limit=many", None),
        ("POST", "/v3/asm/groups/7/suppressions", {"recipient_emails": "ann"}),
    ):
        with pytest.raises((AssertionError, ValueError)):
            spec.check_call(method, url, body)
