"""T8: forged webhook bodies are refused, replayed ones change nothing. `make soak` runs more."""

from __future__ import annotations

import asyncio
import http.client
import random
from pathlib import Path

import pytest

from tests.crash.forgery import FORGERIES, Target
from tests.crash.storm import PRIVATE, prepare
from uptake.sandbox.serving import Serving

COUNT = 4_000
REPLAYS = 1_000


@pytest.fixture
def target(tmp_path: Path):
    prepare(f"sqlite:///{tmp_path / 'ledger.sqlite3'}", 50)
    target = Target(tmp_path / "ledger.sqlite3", seed=1)
    yield target
    target.close()


def test_no_forged_body_is_believed_and_no_replay_changes_anything(target):
    found = asyncio.run(target.attack(1, forgeries=COUNT, replays=REPLAYS))
    assert found.losses == ()


def test_nor_on_a_socket(target):
    """Where a server has read the headers."""
    chance = random.Random(2)
    with Serving(target.app) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        for name, forge in FORGERIES.items():
            headers, body = forge(target.genuine[0], chance)
            if any(any(sign in value for sign in "\r\n") or value != value.strip() for _, value in headers):
                continue  # it cannot be said in HTTP, or means the same
            connection.putrequest("POST", "/webhooks/sendgrid")
            for header, value in [*headers, ("Content-Length", str(len(body)))]:
                connection.putheader(header, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            answer.read()
            assert answer.status in (400, 403), name
        connection.close()
    assert target.stored() == 0


def test_a_forger_with_the_key_would_be_believed(target, monkeypatch):
    """What refuses everything proves nothing."""
    monkeypatch.setattr("tests.crash.forgery.OTHER_KEY", PRIVATE)
    found = asyncio.run(target.attack(3, forgeries=len(FORGERIES), replays=0))
    assert any(loss.startswith("another key: 1 answered 204") for loss in found.losses)
    assert "1 forged bodies are stored" in found.losses
