"""A process that forks one worker after the other, each with a failpoint of its own: `python -m tests.crash.worker`.

It has no threads and has imported everything, so a fork is cheap and safe. It reads one JSON line per worker from its
input, and answers with two: the worker's pid, then how it ended (minus the signal, or its exit code).
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from tests.crash import preloaded  # noqa: F401
from tests.crash.outbox import NOW, Outbox, plan_sends
from uptake import failpoints
from uptake.operations.record_delivery import record_delivery
from uptake.sandbox.fakegrid import EventPoster, Reaction
from uptake.testing import FixedClock


class Bouncing:
    """Every mail is processed; some bounce, the others are delivered."""

    def reactions(self, accepted: Mapping[str, Any]) -> Iterator[Reaction]:
        yield Reaction(event="processed")
        bounces = accepted["to"].split("@")[0].endswith("3")
        yield Reaction(event="bounce" if bounces else "delivered", delay=timedelta(seconds=2))


def live(outbox: Outbox, contact_ids: list[str], *, leaves: str) -> None:
    """All that happens to messages: enter, send, look up, hold, hear, stop. Safe to do again from any point."""
    missing = [name for name in contact_ids if not _has_send(outbox, name)]
    if missing:
        gate_id = outbox.ledger.read("gates", count=1)[0]["gate_id"]
        plan_sends(outbox.ledger, missing, gate_id=gate_id, now=outbox.clock.now())
    outbox.send(owner=f"w{os.getpid()}", batch_size=4)
    outbox.clock.moment += timedelta(minutes=31)
    outbox.reconcile()
    poster = EventPoster(
        outbox.home,
        "http://127.0.0.1:1/hook",
        Bouncing(),
        client=httpx.Client(transport=httpx.MockTransport(lambda request: _receive(outbox, request))),
    )
    try:
        poster.post_due(outbox.clock.now())
    finally:
        poster.close()
    record_delivery(outbox.ledger, outbox.events, clock=outbox.clock)
    outbox.ledger.people.unsubscribe(leaves, topic=None, source="t", now=outbox.clock.now())


def _has_send(outbox: Outbox, contact_id: str) -> bool:
    history = outbox.ledger.read("contact_history", contact_id=contact_id)
    return any(row["what"] == "sent" for row in history)


def _receive(outbox: Outbox, request: httpx.Request) -> httpx.Response:
    """As `web_public` does: stored, then acknowledged."""
    outbox.ledger.delivery.store(request.content, now=outbox.clock.now())
    return httpx.Response(204)


def work(order: Mapping[str, Any]) -> None:
    """Be one worker."""
    clock = FixedClock(datetime.fromisoformat(order["now"]) if "now" in order else NOW)
    outbox = Outbox(order["url"], Path(order["home"]), order["base_url"], clock)
    failpoints.arm(order["fail"])
    live(outbox, order["contacts"], leaves=order["leaves"])
    if "passed" in order:
        Path(order["passed"]).write_text(json.dumps(failpoints.passed))


def main() -> None:
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            try:
                work(order)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        _say(pid)
        _say(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def _say(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
