"""Sends what is planned: claim, render, commit the intent, post once, record what is certain.

A message whose request may have left is never sent again from here. What cannot be told is `unknown`, and only
evidence or a person resolves it.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from uptake import collector, failpoints
from uptake.domain.eligibility import Reason, Verdict, effect_of
from uptake.domain.playbooks import Release
from uptake.domain.sends import SuppressionReason
from uptake.errors import (
    AcceptanceUnknown,
    MailerUnavailable,
    MessageRefused,
    PlaybookError,
    SendingForbidden,
    SnapshotError,
    UnexpectedAnswer,
)
from uptake.operations.pace import Pace
from uptake.ports import (
    ENGINE,
    Claimed,
    Clock,
    ControlState,
    Ledger,
    Links,
    MailBatch,
    Mailer,
    MergeFields,
    Recipient,
    Rendered,
    Snapshots,
    Witness,
)

_log = logging.getLogger(__name__)

LEASE = timedelta(minutes=5)  # how long a worker may hold what it has not begun to send
PATIENCE = timedelta(minutes=2)  # a request's longest time-outs and a minute: later, nobody waits for its answer
MAX_AGE = timedelta(hours=36)  # of the snapshot a message was decided on

_UNKNOWN_IN_A_ROW = 5  # the breaker opens
_BREAK = timedelta(minutes=5)  # for all workers; the next run begins with one message anyway
_EQUAL_REFUSALS = 3  # all will fail alike: the playbook is paused
_FRUITLESS_ROUNDS = 12  # more than it takes to bisect a thousand
_INVALID_SHARE, _INVALID_FREE = 0.01, 5  # more bad addresses than that: the list is bad, not the address


@dataclass(kw_only=True)
class SendResult:
    """What one run did, in messages; `stopped` says why it ended before the outbox was empty."""

    requests: int = 0
    accepted: int = 0
    sandboxed: int = 0
    unknown: int = 0
    expired: int = 0  # left in `sending` by a worker that died: unknown now
    failed: int = 0
    invalid: int = 0  # of the failed: the address was refused
    put_back: int = 0
    withheld: Counter[Reason] = field(default_factory=Counter)
    stopped: str | None = None


def send_due(
    ledger: Ledger,
    mailer: Mailer,
    fields: MergeFields,
    links: Links,
    snapshots: Snapshots,
    *,
    clock: Clock,
    owner: str,
    batch_size: int = 1_000,
    lease: timedelta = LEASE,
    max_age: timedelta = MAX_AGE,
    witness: Witness | None = None,
) -> SendResult:
    """Send what is planned until nothing is left or something says stop.

    Args:
        ledger: Holds the outbox.
        mailer: The mail service.
        fields: What texts may say about people.
        links: Where recipients unsubscribe.
        snapshots: What the messages were decided on.
        clock: The time.
        owner: Names this worker among all that send now.
        batch_size: Most people in one request, 1-1,000; how a run comes to so many, `pace` tells.
        lease: How long a claim holds.
        max_age: Oldest snapshot that a message may still be sent on.
        witness: Remembers the newest intent outside the ledger, so that a restored one is found out.
    """
    run = _Run(
        ledger, mailer, fields, links, snapshots, clock=clock, owner=owner, full=batch_size, max_age=max_age,
        witness=witness,
    )  # fmt: skip
    run.result.expired = ledger.sends.expire(now=clock.now())
    while run.result.stopped is None:
        now = clock.now()
        if reason := _closed(ledger.releases.controls(), now):
            run.result.stopped = reason
            break
        with collector.put_off():
            claimed = ledger.sends.claim(owner=owner, limit=run.pace.size, now=now, lease=lease)
            if not claimed:
                break
            run.send(claimed)
    result = run.result
    _log.info(
        "sent by %s: %d requests, %d accepted, %d unknown, %d failed, %d withheld, %d put back; %s",
        owner, result.requests, result.accepted, result.unknown + result.expired, result.failed,
        result.withheld.total(), result.put_back, result.stopped or "nothing left",
    )  # fmt: skip
    return result


def _closed(controls: ControlState, now: datetime) -> str | None:
    """Return why nothing may be sent now."""
    if controls.sending_locked is not None:
        return f"sending is locked: {controls.sending_locked}"
    if controls.everything is not None:
        return f"everything is paused: {controls.everything}"
    until = controls.sending_paused_until
    return f"sending is paused until {until:%Y-%m-%d %H:%M:%S} UTC" if until is not None and now < until else None


class _Run:
    """One run of one worker."""

    def __init__(
        self,
        ledger: Ledger,
        mailer: Mailer,
        fields: MergeFields,
        links: Links,
        snapshots: Snapshots,
        *,
        clock: Clock,
        owner: str,
        full: int,
        max_age: timedelta,
        witness: Witness | None,
    ) -> None:
        self._ledger = ledger
        self._mailer = mailer
        self._fields = fields
        self._links = links
        self._snapshots = snapshots
        self._clock = clock
        self._owner = owner
        self._max_age = max_age
        self._witness = witness
        self._count_unknown = 0  # in a row
        self._count_fruitless = 0
        self._refusals: Counter[tuple[str, str]] = Counter()  # (playbook, what the service said) since the last success
        self.pace = Pace(full)
        self.result = SendResult()

    def send(self, claimed: Sequence[Claimed]) -> None:
        """Bring every claimed message to where it can be told what became of it, or put it back."""
        ended = self._count_ended()
        release = self._ledger.releases.version(claimed[0].version_id)
        pending = self._recipients(release, claimed)
        while pending and self.result.stopped is None:
            try:
                rendered = self._mailer.render(
                    MailBatch(release=release, stage_key=claimed[0].stage_key, recipients=tuple(pending.values()))
                )
            except PlaybookError as error:
                self._pause_playbook(release, str(error))
                break
            failpoints.at("rendered")
            for send_id, reason in rendered.refused.items():
                self._withhold([send_id], reason)
                del pending[send_id]
            if not rendered.send_ids:
                break
            intended_at = self._clock.now()
            deadline = intended_at + PATIENCE
            failures = self._ledger.sends.intend(
                rendered.send_ids,
                owner=self._owner,
                body_hash=rendered.body_hash,
                now=intended_at,
                deadline=deadline,
            )
            if failures:
                for send_id, reason in failures.items():
                    self._count_failure(reason)
                    del pending[send_id]
                continue  # nothing was intended: the others are rendered anew
            in_request = [pending.pop(send_id) for send_id in rendered.send_ids]
            if not self._is_witnessed(rendered.send_ids, intended_at):
                break
            if self._clock.now() >= deadline:
                # This worker stood still. What others have settled since is theirs; of the rest it knows: nothing left.
                self._put_back(rendered.send_ids)
                self.result.stopped = "this worker was halted before it could send"
                break
            if not self._post(release, rendered, in_request):
                break
        self._put_back(list(pending))
        self._count_fruitless = 0 if self._count_ended() > ended else self._count_fruitless + 1
        if self._count_fruitless > _FRUITLESS_ROUNDS and self.result.stopped is None:
            self.result.stopped = "the same messages come back again and again"

    def _is_witnessed(self, send_ids: Sequence[str], intended_at: datetime) -> bool:
        """Note the intent outside the ledger before any byte leaves; without it nothing does."""
        if self._witness is None:
            return True
        try:
            self._witness.note(send_ids[-1], intended_at)
        except OSError as error:
            self._put_back(send_ids)
            self.result.stopped = f"the last intent cannot be noted: {error.strerror or type(error).__name__}"
            return False
        return True

    def _recipients(self, release: Release, claimed: Sequence[Claimed]) -> dict[str, Recipient]:
        """Return by send id who can be mailed; withhold the others."""
        by_snapshot: dict[str, list[Claimed]] = {}
        for send in claimed:
            by_snapshot.setdefault(send.snapshot_id, []).append(send)
        recipients: dict[str, Recipient] = {}
        for snapshot_id, sends in by_snapshot.items():
            try:
                snapshot = self._snapshots.open(snapshot_id)
                is_open = self._ledger.gates.passed(snapshot_id) is not None
                if not is_open or self._clock.now() - snapshot.as_of > self._max_age:
                    raise SnapshotError("no passed gate row, or too old")
                values = self._fields.values(snapshot, release, sends)
            except SnapshotError as error:
                _log.warning("snapshot %s: %s; %d messages withheld", snapshot_id, error, len(sends))
                self._withhold([send.send_id for send in sends], Reason.GATE_HELD)
                continue
            gone = [send.send_id for send in sends if send.send_id not in values]
            self._withhold(gone, Reason.LEFT)
            for send in sends:
                if send.send_id in values:
                    recipients[send.send_id] = Recipient(
                        send_id=send.send_id,
                        contact_id=send.contact_id,
                        address=send.address,
                        full_name=send.full_name,
                        fields=values[send.send_id],
                        unsubscribe_url=self._links.unsubscribe_url(
                            contact_id=send.contact_id,
                            topic=release.playbook.topic,
                            feature_key=send.feature_key,
                        ),
                    )
        return recipients

    def _post(self, release: Release, rendered: Rendered, recipients: Sequence[Recipient]) -> bool:
        """Post once and record what is certain; tell whether the rest of this claim may go on."""
        send_ids = rendered.send_ids
        self.result.requests += 1
        try:
            message_id = self._mailer.post(rendered)
        except MailerUnavailable as error:
            self._put_back(send_ids)
            if error.retry_after is not None:
                until = self._clock.now() + timedelta(seconds=error.retry_after)
                self._order("sending", "", str(error), until=until)
            self.result.stopped = str(error)
        except SendingForbidden as error:
            self._put_back(send_ids)
            self._order("sending", "", str(error))
            self.result.stopped = f"sending is locked: {error}"
            _log.error("sending is locked until a person resumes it: %s", error)
        except AcceptanceUnknown as error:
            self._record_unknown(send_ids, error)
        except MessageRefused as error:
            self._record_refusal(release, recipients, error)
        else:
            now = self._clock.now()
            if self._mailer.sandbox:
                self._ledger.sends.sandboxed(send_ids, now=now, owner=self._owner)
                self.result.sandboxed += len(send_ids)
            else:
                self._ledger.sends.accepted(send_ids, message_id=message_id, now=now)
                self.result.accepted += len(send_ids)
            self._count_unknown = 0
            self._refusals.clear()
            self.pace.passed(len(send_ids))
            return not self._is_used_up(now)
        return False

    def _is_used_up(self, now: datetime) -> bool:
        """Pause all workers when the service said with its acceptance that it takes no more for a while."""
        wait = self._mailer.seconds_to_wait
        if wait <= 0:
            return False
        self.result.stopped = "the mail service takes no more requests before its limit is reset"
        self._order("sending", "", self.result.stopped, until=now + timedelta(seconds=wait))
        return True

    def _record_unknown(self, send_ids: Sequence[str], error: AcceptanceUnknown) -> None:
        """Nobody knows whether these were taken: they are never sent again from here."""
        self._ledger.sends.unknown(send_ids, detail=str(error), now=self._clock.now(), owner=self._owner)
        self.result.unknown += len(send_ids)
        self._count_unknown += 1
        self.pace.doubtful()
        _log.warning("%d messages are unknown: %s", len(send_ids), error)
        if isinstance(error, UnexpectedAnswer):
            self.result.stopped = str(error)
        elif self._count_unknown >= _UNKNOWN_IN_A_ROW:
            self.result.stopped = f"{self._count_unknown} requests in a row without an answer to rely on"
            self._order("sending", "", self.result.stopped, until=self._clock.now() + _BREAK)

    def _record_refusal(self, release: Release, recipients: Sequence[Recipient], error: MessageRefused) -> None:
        """A refused request reached nobody: take the named address out, or search for the message at fault."""
        now = self._clock.now()
        if error.recipient is not None and error.recipient < len(recipients):
            bad = recipients[error.recipient]
            self._ledger.sends.failed([bad.send_id], detail=f"invalid address: {error}", now=now, owner=self._owner)
            address_hash = self._ledger.people.address_hash_of(bad.contact_id)
            if address_hash is not None:
                self._ledger.people.suppress(
                    address_hash, reason=SuppressionReason.INVALID, topic=None, source="mail_send", now=now
                )
            self.result.failed += 1
            self.result.invalid += 1
            self._put_back([recipient.send_id for recipient in recipients if recipient is not bad])
            allowed = max(_INVALID_FREE, _INVALID_SHARE * (self.result.accepted + self.result.failed))
            if self.result.invalid > allowed:
                self.result.stopped = f"{self.result.invalid} addresses refused: the list needs a look"
            return
        self.pace.refused(len(recipients))
        if len(recipients) > 1:
            self._put_back([recipient.send_id for recipient in recipients])
            return
        self._ledger.sends.failed([recipients[0].send_id], detail=str(error), now=now, owner=self._owner)
        self.result.failed += 1
        refusal = (release.name, str(error))
        self._refusals[refusal] += 1
        if self._refusals[refusal] >= _EQUAL_REFUSALS:
            self._pause_playbook(release, f"{self._refusals[refusal]} messages refused alike: {error}")

    def _pause_playbook(self, release: Release, reason: str) -> None:
        _log.error("playbook %s is paused: %s", release.name, reason)
        self._order("playbook", release.name, reason)

    def _order(
        self, scope: Literal["playbook", "sending"], target: str, reason: str, *, until: datetime | None = None
    ) -> None:
        self._ledger.releases.control(
            scope, target, "pause", reason=reason, by=ENGINE, now=self._clock.now(), until=until
        )

    def _withhold(self, send_ids: Collection[str], reason: Reason) -> None:
        if send_ids:
            self._ledger.sends.withheld(list(send_ids), reason=reason, now=self._clock.now(), owner=self._owner)
            self.result.withheld[reason] += len(send_ids)

    def _count_failure(self, reason: Reason) -> None:
        """Count what the ledger has already done with a message that may not be sent."""
        if effect_of(reason) is Verdict.RETRY:
            self.result.put_back += 1
        else:
            self.result.withheld[reason] += 1

    def _put_back(self, send_ids: Sequence[str]) -> None:
        if send_ids:
            self._ledger.sends.put_back(list(send_ids), now=self._clock.now(), owner=self._owner)
            self.result.put_back += len(send_ids)

    def _count_ended(self) -> int:
        result = self.result
        return result.accepted + result.sandboxed + result.unknown + result.failed + result.withheld.total()
