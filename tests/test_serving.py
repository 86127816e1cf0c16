from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.crash.storm import PUBLIC_KEY, signed
from uptake.adapters.ledger import open_ledger
from uptake.ports import Keys

BODY = b'[{"event":"delivered","email":"eve@customer.example","timestamp":1772528400}]\r\n'


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
