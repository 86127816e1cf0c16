"""Every way a request can go wrong, over a real socket, ends as the decision table says (reliability: T5)."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from tests.crash.faults import NAMES_ONE, TABLE, meet
from tests.crash.outbox import Outbox, copy_ledger, judge
from tests.sandbox.openapi import Spec
from uptake.sandbox.fakegrid import FAULTS, FaultPlan, FaultyFront


def test_the_table_decides_every_fault():
    assert set(TABLE) == set(FAULTS)


@pytest.mark.parametrize("fault", sorted(TABLE))
def test_each_fault_ends_as_the_table_says(planned, home, clock, fakegrid, fault):
    meet(fault, planned, home, clock, fakegrid, count=12)


@pytest.mark.parametrize("fault", ["reset", "accepted, then reset", "429, reset ahead", "400, names nobody", NAMES_ONE])
def test_nor_does_a_request_of_ten_end_otherwise(planned, home, clock, fakegrid, fault):
    meet(fault, planned, home, clock, fakegrid, count=12, passed=1)


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
