"""The last look before a request leaves: who may still be written to, on a batch of claimed sends."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import pyarrow as pa
import sqlalchemy as sa

from uptake.adapters.ledger import answers
from uptake.adapters.ledger.among import among
from uptake.adapters.ledger.consent import REFUSED, counts
from uptake.adapters.ledger.decide import VERDICTS, decide
from uptake.adapters.ledger.releases import SqlReleases, control_state
from uptake.adapters.ledger.schema import (
    OPEN,
    UtcTime,
    assignments,
    consents,
    enrollment_contacts,
    enrollments,
    people,
    preferences,
    sends,
    suppressions,
)
from uptake.adapters.ledger.suppression import in_force
from uptake.domain.arms import Arm
from uptake.domain.eligibility import Reason, effect_of
from uptake.domain.playbooks import Release
from uptake.domain.sends import SendStatus
from uptake.ports import ControlState

_TREATED = Arm.TREATMENT.value


class Checked(NamedTuple):
    """What the last look found, by send id."""

    lost: set[str]  # not this owner's any more
    paused: set[str]
    ended: dict[str, Reason]
    keys: list[int]  # of all, whatever was found


def check_intents(
    connection: sa.Connection, releases: SqlReleases, send_ids: Sequence[str], *, owner: str, now: datetime
) -> Checked:
    """Look at each send once more, and lock it."""
    rows = [_Claim._make(row) for row in connection.execute(_CLAIMS, {"ids": send_ids, "by": owner, "now": now})]
    held = {row.send_id for row in rows if row.is_held}
    state = control_state(connection)
    stops = _stops(connection, {row.address_hash for row in rows if row.address_hash is not None and row.is_stopped})
    bases = _bases(connection, {row.address_hash for row in rows if row.address_hash is not None and row.said}, now)
    paused: set[str] = set()
    ended: dict[str, Reason] = {}
    for row in rows:
        if row.send_id not in held:
            continue
        release = releases.version_in(connection, row.version_id)
        reason = _ending(row, release, stops, bases, state)
        if reason is not None:
            ended[row.send_id] = reason
        elif row.is_late:
            ended[row.send_id] = Reason.OUTSIDE_WINDOW
        elif row.claimed_hash != row.address_hash or _is_paused(row, state, now):  # a new address: claim it anew
            paused.add(row.send_id)
    return Checked(set(send_ids) - held, paused, ended, [row.send_key for row in rows])


class _Claim(NamedTuple):
    """One send, and what is known now of whom it is for. In the order of `_CLAIMS`."""

    send_key: int
    send_id: str
    is_held: bool
    version_id: int
    playbook: str
    account_id: str
    arm: str
    assigned_arm: str
    contact_status: str
    end_reason: str | None
    claimed_hash: str | None
    address_hash: str | None
    has_address: bool
    is_erased: bool
    is_late: bool
    is_stopped: bool  # the address has stopped something
    said: bool  # the address has consented to something, or refused
    has_answered: bool  # that they need no lesson on the feature


_NOW = sa.bindparam("now", type_=UtcTime)
_IS_HELD = sa.and_(
    sends.c.status == SendStatus.CLAIMED.value, sends.c.owner == sa.bindparam("by"), sends.c.lease_until_at > _NOW
)
#: Whether its window has closed since the tick; what a person has released since goes when they say so.
_IS_LATE = (
    sends.c.window_ends_at.is_not(None)
    & (sends.c.window_ends_at <= _NOW)
    & sa.or_(sends.c.released_at.is_(None), sends.c.released_at <= sends.c.planned_at)
)
_CLAIMS = (
    sa.select(
        sends.c.send_key,
        sends.c.send_id,
        _IS_HELD.label("is_held"),
        sends.c.version_id,
        sends.c.playbook,
        sends.c.account_id,
        enrollments.c.arm,
        assignments.c.arm.label("assigned_arm"),
        enrollment_contacts.c.status.label("contact_status"),
        enrollment_contacts.c.end_reason,
        sends.c.address_hash.label("claimed_hash"),
        people.c.address_hash,
        people.c.address.is_not(None).label("has_address"),
        people.c.erased_at.is_not(None).label("is_erased"),
        _IS_LATE.label("is_late"),
        sa.exists().where(suppressions.c.address_hash == people.c.address_hash, in_force()).label("is_stopped"),
        sa.exists().where(consents.c.address_hash == people.c.address_hash).label("said"),
        sa.exists()
        .where(
            preferences.c.contact_id == sends.c.contact_id,
            preferences.c.value == enrollment_contacts.c.feature_key,
            answers.counts(),
        )
        .label("has_answered"),
    )
    .join(enrollments, enrollments.c.enrollment_id == sends.c.enrollment_id)
    .join(
        enrollment_contacts,
        (enrollment_contacts.c.enrollment_id == sends.c.enrollment_id)
        & (enrollment_contacts.c.contact_id == sends.c.contact_id),
    )
    .join(
        assignments,
        (assignments.c.playbook == sends.c.playbook) & (assignments.c.account_id == sends.c.account_id),
    )
    .outerjoin(people, people.c.contact_id == sends.c.contact_id)
    .where(among(sends.c.send_id, "ids"))
    .order_by(sends.c.send_key)  # two workers lock in one order
    .with_for_update(of=sends)
)


def _stops(connection: sa.Connection, addresses: Collection[str]) -> dict[str, list[tuple[str, int | None]]]:
    """Return what each address has stopped: (topic, group of the mail service)."""
    if not addresses:
        return {}
    row = suppressions.c
    query = sa.select(row.address_hash, row.topic, row.topic_group).where(among(row.address_hash, addresses))
    found: dict[str, list[tuple[str, int | None]]] = {}
    for address, topic, group in connection.execute(query.where(in_force())):
        found.setdefault(address, []).append((topic, group))
    return found


def _bases(connection: sa.Connection, addresses: Collection[str], now: datetime) -> dict[str, set[str]]:
    """Return the bases that count for each address that has any; `none` alone for one that refused."""
    if not addresses:
        return {}
    row = consents.c
    query = sa.select(row.address_hash, row.basis).where(among(row.address_hash, addresses), counts(now))
    found: dict[str, set[str]] = {}
    for address, basis in connection.execute(query):
        found.setdefault(address, set()).add(basis)
    return found


def _ending(
    row: _Claim,
    release: Release,
    stops: Mapping[str, list[tuple[str, int | None]]],
    bases: Mapping[str, set[str]],
    state: ControlState,
) -> Reason | None:
    """Return why this contact gets nothing, now or later."""
    if row.is_erased:
        return Reason.ERASED
    if row.contact_status != OPEN:
        return Reason(row.end_reason) if row.end_reason in set(Reason) else Reason.STOPPED
    if row.address_hash is None or not row.has_address:
        return Reason.LEFT
    topic, topics = release.playbook.topic, release.workspace.topics
    for stopped, group in stops.get(row.address_hash, ()):
        if stopped in ("", topic) or (group is not None and group == topics.get(topic)):
            return Reason.SUPPRESSED
    found = bases.get(row.address_hash)
    if found == {REFUSED} or (found is None and release.workspace.consent.default_basis == REFUSED):
        return Reason.UNCONSENTED
    if row.has_answered:
        return Reason.ANSWERED
    stopped_by_hand = "stop" in (state.playbooks.get(row.playbook), state.accounts.get(row.account_id))
    if stopped_by_hand or row.arm != _TREATED or row.assigned_arm != _TREATED:
        return Reason.STOPPED
    return None


def _is_paused(row: _Claim, state: ControlState, now: datetime) -> bool:
    limited = state.sending_paused_until is not None and state.sending_paused_until > now
    everything = state.everything is not None or state.sending_locked is not None or limited
    return everything or row.playbook in state.playbooks or row.account_id in state.accounts


def withhold(
    connection: sa.Connection,
    reasons: Mapping[str, Reason],
    *,
    detail: str,
    now: datetime,
    owner: str | None = None,
) -> None:
    """Withhold planned and claimed sends, each with its reason and a decision row."""
    if not reasons:
        return
    columns = (
        "send_key",
        "send_id",
        "enrollment_id",
        "contact_id",
        "stage_key",
        "version_id",
        "snapshot_id",
        "gate_id",
    )
    query = sa.select(*(sends.c[name] for name in columns)).where(
        sends.c.send_id.in_(list(reasons)),
        sends.c.status.in_([SendStatus.PLANNED.value, SendStatus.CLAIMED.value]),
    )
    if owner is not None:
        query = query.where(sends.c.owner == owner)
    rows = [dict(row._mapping) for row in connection.execute(query.with_for_update())]
    for row in rows:
        reason = reasons[row["send_id"]]
        row.update(verdict=effect_of(reason).value, reason=reason.value, detail=detail)
    for reason in set(reasons.values()):
        keys = [row["send_key"] for row in rows if row["reason"] == reason]
        connection.execute(
            sa.update(sends)
            .where(sends.c.send_key.in_(keys))
            .values(
                status=SendStatus.WITHHELD.value,
                reason=reason.value,
                detail=detail,
                owner=None,
                lease_until_at=None,
                updated_at=now,
            )
        )
    decide(connection, pa.Table.from_pylist(rows, schema=VERDICTS), run_id=None, now=now)
