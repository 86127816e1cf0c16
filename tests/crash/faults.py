"""T5: one request meets one fault, and each message in it ends as the decision table says.

A run begins with one message in a request and goes on with 10 and 100: a lost answer leaves all of them unknown, and a
refusal that names nobody is searched in halves until everybody else has their mail.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.crash.outbox import TIMEOUT, Outbox, Verdict, copy_ledger, judge
from uptake.sandbox.fakegrid import FAULTS, FaultPlan, FaultyFront
from uptake.testing import FixedClock

#: What the messages of the broken request become, and why the run ends (None: it goes on).
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


#: How many messages are in the first, the second and the third request.
SIZES = (1, 10, 100)
NAMES_ONE = "400, names an address"


def meet(
    fault: str, planned: Path, home: Path, clock: FixedClock, fakegrid: int, *, count: int, passed: int = 0
) -> Verdict:
    """Let one request meet a fault after so many have passed, and see all `count` messages settled."""
    status, stopped = TABLE[fault]
    struck, before = SIZES[passed], sum(SIZES[:passed])
    assert before + struck < count, "there must be something to go on with"
    plan, silence = FaultPlan([None] * passed + [fault]), (TIMEOUT.read or 0) + 1
    with FaultyFront(fakegrid, plan, clock, silence=silence) as front:
        outbox = Outbox(copy_ledger(planned, home), home, front.url, clock)
        result = outbox.send(batch_size=SIZES[-1])
        found = Counter(outbox.statuses().values())
        assert front.fired == [fault]
        if stopped is not None:
            assert stopped in (result.stopped or "")
            after = Counter({status: struck}) + Counter(accepted=before)
            assert found == after + Counter(planned=count - after.total()), found
            requests = front.count_requests
            assert outbox.send(batch_size=SIZES[-1]).requests == 0 or stopped == "expected 202"
            assert front.count_requests == requests or stopped == "expected 202", "no request while it is closed"
        else:
            assert result.stopped is None
            if status == FAILED:  # of several, only who is named; the others were refused for nothing
                struck = 1 if struck == 1 or fault == NAMES_ONE else 0
            assert found == Counter({status: struck}) + Counter(accepted=count - struck), found
        outbox.drain()
        settled = outbox.settle()
        ended = Counter(outbox.statuses().values())
        verdict = judge(home, outbox.statuses())
        outbox.close()
    assert verdict.is_clean, verdict
    if status == UNKNOWN:
        is_evident = FAULTS[fault].is_accepted
        assert settled.found == struck * is_evident
        assert ended["held"] == struck * (not is_evident), "what has evidence is resolved, what has none is held"
    return verdict
