"""One tick of a home, from what is known to whom it is told: fold, reconcile, decide, send, post tasks."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from uptake.adapters.clock import StoppedClock
from uptake.adapters.sendgrid import is_loopback
from uptake.adapters.templates import fill_words
from uptake.adapters.tokens import RecipientLinks
from uptake.errors import Refused, UptakeError
from uptake.operations import post_tasks
from uptake.operations import reconcile as _reconcile
from uptake.operations import send as _send
from uptake.operations import tick as _tick
from uptake.operations.record_delivery import record_delivery
from uptake.operations.status import proven_duplicates
from uptake.operations.tick_report import TickReport

if TYPE_CHECKING:
    from uptake.ports import Clock
    from uptake.wiring import Wiring


def tick(home: Wiring, *, now: datetime | None = None) -> TickReport:
    """Fold what is known, decide for everybody, send what is due; `now` stops the clock for all three."""
    clock = home.clock if now is None else StoppedClock(now)
    if now is not None and not is_loopback(home.settings.sendgrid_base_url):
        away = abs(now - home.clock.now())
        if away > _reconcile.MARGIN:  # further away, the log would be asked for another time than it knows
            raise Refused(f"--now lies {away} from the clock; mail that really leaves is decided by the clock alone")
    mailer = home.mailer  # a missing key is said before anything is decided
    folded = record_delivery(home.ledger, home.delivery_events, clock=home.clock)
    _reconcile.guard(home.ledger, home.witness, now=clock.now(), interval=home.settings.tick_interval)
    # Before anything is decided, so that what an outage kept too long is decided by this tick, not by the next one.
    expired = home.ledger.sends.expire(now=clock.now())
    reconciled = None
    if home.ledger.releases.controls().forgotten is not None or home.ledger.read("unresolved_sends"):
        reconciled = _reconcile.reconcile(
            home.ledger, home.mail_log, home.delivery_events, clock=clock, settle=home.log_lag
        )
    decided = _tick.tick(
        home.journeys, home.snapshots, home.ledger, now=clock.now(), git_sha=home.git_sha, owner=home.owner
    )
    sent = _send.send_due(
        home.ledger,
        mailer,
        home.merge_fields,
        RecipientLinks(home.tokens, home.settings.public_url),
        home.snapshots,
        clock=clock,
        owner=home.sender,
        witness=home.witness,
    )
    sent.expired += expired
    told = tell_of_tasks(home, clock)  # last of all: whoever is told of tasks stands in nobody's way
    has_heard = folded.new_events > 0 or reconciled is not None  # else there is nothing new to search
    doubled = proven_duplicates(home.ledger) if has_heard else None
    return TickReport(folded=folded, decided=decided, sent=sent, reconciled=reconciled, told=told, doubled=doubled)


def tell_of_tasks(home: Wiring, clock: Clock) -> post_tasks.Posted | None:
    """Tell the workspace's task webhook what is new; None where it has none."""
    try:
        receiver = home.task_receiver
    except UptakeError as error:  # a wrong file or setting: nobody is told, and everybody is mailed as ever
        return post_tasks.Posted(trouble=str(error))
    if receiver is None:
        home.ledger.tasks.drop_posts()
        return None
    return post_tasks.post_tasks(home.ledger, receiver, home.snapshots, home.merge_fields, fill_words, clock=clock)
