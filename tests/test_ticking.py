"""One tick of a home: in which order it folds, decides and sends, as far as that shows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.operations.conftest import KEYS, NOW, Town
from uptake.adapters.sendgrid_events import SendGridEvents
from uptake.adapters.tokens import Tokens
from uptake.adapters.witness_file import WitnessFile
from uptake.errors import MailerUnavailable
from uptake.operations.tick_report import TickReport
from uptake.ports import MailBatch, Rendered
from uptake.testing import FixedClock
from uptake.ticking import tick

HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)


class Service:
    """A mail service that is down, or takes everything."""

    sandbox = False
    seconds_to_wait = 0.0
    is_down = True

    def render(self, batch: MailBatch) -> Rendered:
        ids = tuple(recipient.send_id for recipient in batch.recipients)
        return Rendered(body=b"{}", body_hash="h", send_ids=ids, refused={})

    def post(self, _rendered: Rendered) -> str | None:
        if self.is_down:
            raise MailerUnavailable("SendGrid cannot be reached")
        return None


class Home(SimpleNamespace):
    """What a tick asks a home for."""

    def tick(self, moment: datetime) -> TickReport:
        self.clock.moment = moment
        found: Any = self
        return tick(found)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    town = Town(tmp_path)
    town.settle(20)
    town.publish()
    town.approve()
    yield Home(
        settings=SimpleNamespace(
            sendgrid_base_url="http://127.0.0.1:1", public_url="http://127.0.0.1:1", tick_interval=HOUR, sandbox=False
        ),
        clock=FixedClock(NOW),
        mailer=Service(),
        ledger=town.ledger,
        delivery_events=SendGridEvents(KEYS.pseudonym),
        witness=WitnessFile(tmp_path),
        journeys=town.journeys,
        snapshots=SimpleNamespace(current=town.current, open=lambda _id: town.snapshot),
        merge_fields=SimpleNamespace(values=lambda _snapshot, _release, claimed: {one.send_id: {} for one in claimed}),
        tokens=Tokens(KEYS.tokens),
        git_sha="abc",
        owner="test",
        sender="test",
        task_receiver=None,
    )
    town.ledger.close()


def test_what_an_outage_kept_over_an_hour_is_decided_again_and_leaves_with_the_very_next_tick(home):
    planned = home.tick(NOW).decided.counts["send"]
    home.mailer.is_down = False
    later = home.tick(NOW + HOUR + SECOND)
    assert later.decided.counts["send"] == planned > 0
    assert later.sent.accepted == planned


def test_what_a_dead_worker_left_is_counted_by_the_tick_that_finds_it(home):
    home.tick(NOW)
    (send,) = home.ledger.sends.claim(owner="dead", limit=1, now=NOW, lease=HOUR)
    assert not home.ledger.sends.intend(
        [send.send_id], owner="dead", body_hash="h", now=NOW, deadline=NOW + timedelta(minutes=2)
    )
    home.witness.note(send.send_id, NOW)
    home.mail_log, home.log_lag = None, HOUR  # not asked before half an hour
    assert home.tick(NOW + timedelta(minutes=10)).sent.expired == 1
