"""Every way a request can go wrong, over a real socket, ends as the decision table says (reliability: T5)."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from tests.crash.outbox import Outbox, copy_ledger, judge
from tests.sandbox.openapi import Spec
from uptake.sandbox.fakegrid import FAULTS, FaultPlan, FaultyFront

#: What the one message of the broken request becomes, and why the run ends (None: it goes on).
UNKNOWN, ACCEPTED, BACK, FAILED = "unknown", "accepted", "planned", "failed"
TABLE: dict[str, tuple[str, str | None]] = {
    "reset": (UNKNOWN, None),
    "closed": (UNKNOWN, None),
    "silence": (UNKNOWN, None),
    "cut status line": (UNKNOWN, None),
    "garbage": (UNKNOWN, None),
    "429, reset ahead": (BACK, "429"),
    "429, reset past": (BACK, "429"),
    "429, no reset": (BACK, "429"),
    "400, names an address": (FAILED, None),
    "400, names nobody": (FAILED, None),
    "400, a page": (FAILED, None),
    "401, key": (BACK, "locked"),
    "401, credits": (BACK, "locked"),
    "403, sender": (BACK, "locked"),
    "404": (FAILED, None),
    "405": (FAILED, None),
    "413": (FAILED, None),
    "500": (UNKNOWN, None),
    "502, a page": (UNKNOWN, None),
    "503": (UNKNOWN, None),
    "504, a page": (UNKNOWN, None),
    "301": (UNKNOWN, "expected 202"),
    "200": (UNKNOWN, "expected 202"),
    "201": (UNKNOWN, "expected 202"),
    "accepted, then silence": (UNKNOWN, None),
    "accepted, then reset": (UNKNOWN, None),
    "accepted, then closed": (UNKNOWN, None),
    "accepted, then cut status line": (UNKNOWN, None),
    "accepted, then 500": (UNKNOWN, None),
    "accepted, then a page with 502": (UNKNOWN, None),
    "accepted, body cut": (ACCEPTED, None),
    "accepted, no id": (ACCEPTED, None),
    "accepted, late": (ACCEPTED, None),
}


def test_the_table_decides_every_fault():
    assert set(TABLE) == set(FAULTS)


@pytest.mark.parametrize("fault", sorted(TABLE))
def test_each_fault_ends_as_the_table_says(planned, home, clock, fakegrid, fault):
    meet(fault, planned, home, clock, fakegrid)


def meet(fault, planned, home, clock, fakegrid):
    """Let the first request meet a fault and see it settled; return what the oracle found."""
    status, stopped = TABLE[fault]
    with FaultyFront(fakegrid, FaultPlan([fault]), clock) as front:
        outbox = Outbox(copy_ledger(planned, home), home, front.url, clock)
        result = outbox.send(batch_size=1)
        after = Counter(outbox.statuses().values())
        assert front.fired == [fault]
        if stopped is None:
            assert result.stopped is None
            assert after == Counter({status: 1}) + Counter(accepted=11)
        else:
            assert stopped in (result.stopped or "")
            assert after == Counter({status: 1}) + Counter(planned=11)
            before = front.count_requests
            assert outbox.send(batch_size=1).requests == 0 or stopped == "expected 202"
            assert front.count_requests == before or stopped == "expected 202", "no request while it is closed"
        outbox.drain()
        found = outbox.settle()
        ended = Counter(outbox.statuses().values())
        verdict = judge(home, outbox.statuses())
        outbox.close()
    assert verdict.is_clean, verdict
    if status == UNKNOWN:
        is_evident = FAULTS[fault].is_accepted
        assert found.found == int(is_evident)
        assert ended["held"] == int(not is_evident), "what has evidence is resolved, what has none is held"
    return verdict


@pytest.mark.parametrize("seed", range(3))
def test_no_order_of_faults_doubles_or_loses_a_mail(planned, home, clock, fakegrid, seed):
    with FaultyFront(fakegrid, FaultPlan(sorted(FAULTS), seed=seed, share=0.6), clock, silence=0.4) as front:
        outbox = Outbox(copy_ledger(planned, home), home, front.url, clock)
        outbox.drain()
        outbox.settle()
        verdict = judge(home, outbox.statuses())
        left = Counter(outbox.statuses().values())
        outbox.close()
    assert front.fired
    assert verdict.is_clean, verdict
    assert not left["unknown"]


def test_every_body_that_leaves_is_one_that_sendgrids_own_document_allows(planned, home, clock, fakegrid, shared_data):
    """An independent judge: SendGrid's OpenAPI document, not our reading of it."""
    spec = Spec(shared_data / "sendgrid-openapi" / "tsg_mail_v3.json")
    outbox = Outbox(copy_ledger(planned, home), home, f"http://127.0.0.1:{fakegrid}", clock)
    outbox.drain()
    outbox.close()
    bodies = [json.loads(path.read_bytes()) for path in (home / "fakegrid" / "requests").glob("*.json")]
    assert sum(len(body["personalizations"]) for body in bodies) == 12
    for body in bodies:
        spec.check_request("/v3/mail/send", "post", body)
        with pytest.raises(AssertionError):
            spec.check_request("/v3/mail/send", "post", {**body, "from": {"name": "nobody"}})
