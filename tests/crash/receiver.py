"""A process that forks receivers and folders of webhook bodies: `python -m tests.crash.receiver`.

It has no threads and has imported everything, so a fork is cheap and safe. It reads one JSON line per process from its
input, and answers with its pid and, of a receiver, the port.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Mapping
from typing import Any

from tests.crash.outbox import KEYS, NOW
from uptake import failpoints
from uptake.adapters.ledger import open_ledger
from uptake.adapters.sendgrid_events import SendGridEvents, public_keys
from uptake.adapters.tokens import Tokens
from uptake.operations.record_delivery import record_delivery
from uptake.sandbox.serving import Serving
from uptake.testing import FixedClock
from uptake.web_public import create_public_app

CLOCK = FixedClock(NOW)


def receive(order: Mapping[str, Any]) -> None:
    """Serve the public pages as the product does, until the signal."""
    ledger = open_ledger(order["url"], KEYS)
    failpoints.arm(order["fail"])
    app = create_public_app(
        ledger,
        tokens=Tokens(KEYS.tokens),
        clock=CLOCK,
        webhook_keys=public_keys(order["public_key"]),
        topics=["training"],
    )
    with Serving(app, port=order["port"]) as server:
        _say(server.port)
        while True:
            time.sleep(60)


def fold(order: Mapping[str, Any]) -> None:
    """Fold what is stored, until the signal."""
    ledger = open_ledger(order["url"], KEYS)
    _say(0)
    while True:
        record_delivery(ledger, SendGridEvents(KEYS.pseudonym), clock=CLOCK)
        time.sleep(0.05)


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    for line in sys.stdin:
        order = json.loads(line)
        if os.fork() == 0:
            try:
                (receive if "port" in order else fold)(order)
            except BaseException:
                traceback.print_exc()
            os._exit(1)


def _say(port: int) -> None:
    sys.stdout.write(f"{os.getpid()} {port}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
