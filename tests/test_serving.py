from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from tests.crash.storm import PUBLIC_KEY, signed
from uptake.adapters.ledger import open_ledger
from uptake.errors import MailerError
from uptake.ports import Keys
from uptake.serving import StopsTeller
from uptake.testing import FixedClock

START = datetime(2026, 3, 2, tzinfo=UTC)
BODY = b'[{"event":"delivered","email":"eve@customer.example","timestamp":1772528400}]\r\n'


class Uptake:
    """A home whose mail service listens only now and then; remembers from when on it was told."""

    def __init__(self) -> None:
        self.clock = FixedClock(START)
        self.told: list[datetime] = []
        self.listens = True

    def tell_stops(self, *, since: datetime) -> int:
        self.told.append(since)
        if not self.listens:
            raise MailerError("nobody answers")
        return 0


def test_the_mail_service_is_told_every_five_minutes_and_again_of_what_it_did_not_hear(caplog):
    uptake = Uptake()
    teller = StopsTeller(uptake)
    for minute in range(16):
        uptake.listens = minute != 5
        uptake.clock.moment = START + timedelta(minutes=minute)
        teller.tell_due()
    day, minutes = timedelta(days=1), timedelta(minutes=1)
    assert uptake.told == [START - day, START - 10 * minutes, START - 10 * minutes, START]
    assert ["nobody answers" in line.getMessage() for line in caplog.records] == [True]


@contextmanager
def serving(home: Path) -> Iterator[tuple[str, str]]:
    """Run `uptake serve` as a person would; give the addresses it prints; kill it with -9."""
    settings = {"UPTAKE_HOME": str(home), "UPTAKE_WEBHOOK_PUBLIC_KEY": PUBLIC_KEY}
    process = subprocess.Popen(
        [sys.executable, "-m", "uptake", "serve", "--public-port", "0", "--internal-port", "0"],
        env={**os.environ, **settings}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(2)]
        urls = re.findall(r"^(?:Public|Internal) pages +(http://127.0.0.1:[1-9][0-9]*)$", "".join(lines), re.MULTILINE)
        assert len(urls) == 2, lines
        yield urls[0], urls[1]
    finally:
        process.send_signal(signal.SIGKILL)
        _, errors = process.communicate()
    assert "Traceback" not in errors


def test_what_serve_acknowledged_outlives_it_and_only_loopback_pages_tell(tmp_path):
    """The command itself: what it serves where, and that a 2xx means stored."""
    stamp = str(int(time.time()))
    with serving(tmp_path) as (public, internal), httpx.Client(trust_env=False, timeout=20) as client:
        assert client.post(f"{public}/webhooks/sendgrid", content=BODY, headers=signed(BODY, stamp)).status_code == 204
        assert client.post(f"{public}/webhooks/sendgrid", content=BODY).status_code == 403
        assert client.get(f"{public}/u/some-token").status_code == 200
        assert client.post(f"{public}/u/some-token").status_code == 400
        assert client.get(f"{internal}/").status_code == 200
        assert client.get(f"{public}/").status_code == 404
        assert client.post(f"{internal}/webhooks/sendgrid", content=BODY).status_code in (404, 405)
    ledger = open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite3'}", Keys(pseudonym=b"k" * 32, tokens=(b"t" * 32,)))
    assert [batch.body for batch in ledger.delivery.unfolded(9)] == [BODY]
    ledger.close()
