"""The outbox: claim, intend, and what became of it. Each method is one transaction.

A lease frees only what was claimed. Once the intent is committed the request may have left, and only evidence or a
person moves the row. Evidence wins over every guess: a 202 counts whoever reports it, however late.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import sqlalchemy as sa

from uptake import failpoints
from uptake.adapters.ledger.among import among
from uptake.adapters.ledger.delivery import settle_proven
from uptake.adapters.ledger.intent import check_intents, withhold
from uptake.adapters.ledger.releases import SqlReleases, control_state, record_control
from uptake.adapters.ledger.schema import UtcTime, delivery_events, people, sends
from uptake.adapters.ledger.store import Store
from uptake.domain.eligibility import Reason
from uptake.domain.sends import TAKEN, SendStatus
from uptake.ports import Claimed, ControlState

_FREE = {"owner": None, "lease_until_at": None, "deadline_at": None}
#: A literal, so that both databases use the partial index.
_IS_PLANNED = sends.c.status == sa.literal(SendStatus.PLANNED.value, literal_execute=True)
_IS_CLAIMED = sends.c.status == sa.literal(SendStatus.CLAIMED.value, literal_execute=True)
_IS_SENDING = sends.c.status == sa.literal(SendStatus.SENDING.value, literal_execute=True)
_STUCK = [SendStatus.UNKNOWN.value, SendStatus.HELD.value]
#: Word for word what that partial index says: SQLite does not see that "unknown" is one of both.
_IS_STUCK = sends.c.status.in_(sa.bindparam(None, _STUCK, expanding=True, literal_execute=True))
_COUNT = len(Claimed._fields)
_CLAIMED = [sends.c[name] if name in sends.c else people.c[name] for name in Claimed._fields]


#: A tick's decision to send holds until the next one.
DECIDED_FOR = timedelta(hours=1)
_SKEW = timedelta(minutes=1)  # by which the clocks of two machines may differ
_AT_ONCE = 10_000


def _unlocked(*conditions: sa.ColumnElement[bool]) -> sa.Update:
    """Return an update of those rows that no other transaction holds: one that hangs holds up nobody else."""
    free = sa.select(sends.c.send_key).where(*conditions).with_for_update(skip_locked=True)
    return sa.update(sends).where(sends.c.send_key.in_(free))


# What every worker asks again and again is built once: building a statement costs more than running it.
_NOW, _FROM, _UNTIL = (sa.bindparam(name, type_=UtcTime) for name in ("now", "from", "until"))
_FREE_EXPIRED = _unlocked(_IS_CLAIMED, sa.or_(sends.c.lease_until_at <= _NOW, sends.c.lease_until_at > _UNTIL)).values(
    **_FREE, status=SendStatus.PLANNED.value, updated_at=_NOW
)
_CLAIM = (
    sa.update(sends)
    .where(among(sends.c.send_key, "keys"))
    .values(
        status=SendStatus.CLAIMED.value,
        owner=sa.bindparam("by"),
        lease_until_at=_UNTIL,
        # the one that the body will be made for
        address_hash=sa.select(people.c.address_hash)
        .where(people.c.contact_id == sends.c.contact_id)
        .scalar_subquery(),
        updated_at=_NOW,
    )
)
_PUT_BACK = (
    sa.update(sends)
    .where(among(sends.c.send_id, "ids"))
    .values(**_FREE, status=SendStatus.PLANNED.value, updated_at=_NOW)
)
_INTEND = (
    sa.update(sends)
    .where(among(sends.c.send_key, "keys"))
    .values(
        status=SendStatus.SENDING.value,
        attempt=sends.c.attempt + 1,
        body_hash=sa.bindparam("body"),
        sending_at=_NOW,
        deadline_at=_UNTIL,
        updated_at=_NOW,
    )
)
_IS_FIRST = sa.or_(sends.c.accepted_at.is_(None), sends.c.accepted_at > _NOW)
_ACCEPT = (
    sa.update(sends)
    .where(among(sends.c.send_id, "ids"))
    .values(
        **_FREE,
        status=sa.case((sends.c.status.in_(sorted(TAKEN)), sends.c.status), else_=SendStatus.ACCEPTED.value),
        message_id=sa.func.coalesce(sa.bindparam("message", type_=sa.Text), sends.c.message_id),
        accepted_at=sa.case((_IS_FIRST, _NOW), else_=sends.c.accepted_at),
        updated_at=_NOW,
    )
)
# A deadline that ends later than any given now comes from a clock that was put back since.
_DOUBT_OVERDUE = _unlocked(_IS_SENDING, sa.or_(sends.c.deadline_at < _NOW, sends.c.deadline_at > _UNTIL)).values(
    **_FREE,
    status=SendStatus.UNKNOWN.value,
    detail="no answer was recorded before the deadline",
    updated_at=_NOW,
)
_HOLD = (
    sa.update(sends)
    .where(_IS_STUCK, sends.c.status == SendStatus.UNKNOWN.value, sends.c.sending_at < _FROM)
    .values(status=SendStatus.HELD.value, detail=sends.c.detail + "; no evidence came", updated_at=_NOW)
)
#: When it was decided that a mail leaves: a tick may have decided again after a person's release, so the later of both.
_DECIDED_AT = sa.case((sends.c.released_at > sends.c.planned_at, sends.c.released_at), else_=sends.c.planned_at)
_PLANNED_OFF = (
    sa.select(sends.c.send_id, (_DECIDED_AT > _UNTIL).label("is_ahead"))
    .where(_IS_PLANNED, sa.or_(_DECIDED_AT <= _FROM, _DECIDED_AT > _UNTIL))
    .limit(_AT_ONCE)
    .with_for_update(skip_locked=True)
)


class SqlSends:
    """`uptake.ports.Sends` on SQL."""

    def __init__(self, store: Store, releases: SqlReleases) -> None:
        self._store = store
        self._releases = releases

    def claim(self, *, owner: str, limit: int, now: datetime, lease: timedelta) -> list[Claimed]:
        """Claim planned sends of one version and stage, the oldest first; nothing while sending is paused.

        Planned sends of a person who is gone are withheld on the way; those of which the mail service has told
        already (to a ledger that had forgotten them) are folded.
        """
        claimed = self._claim(owner, limit, now, lease)
        failpoints.at("claim: committed")
        return claimed

    def _claim(self, owner: str, limit: int, now: datetime, lease: timedelta) -> list[Claimed]:
        with self._store.write() as connection:
            connection.execute(_FREE_EXPIRED, {"now": now, "until": now + lease + DECIDED_FOR})
            state = control_state(connection)
            if _is_paused(state, now):
                return []
            while rows := _oldest_stage(connection, state, limit):
                if told := [row.send_id for row in rows if row.attempt == 0 and row.is_told]:
                    proven = settle_proven(connection, told, now)
                    rows = [row for row in rows if row.send_id not in proven]
                gone = {
                    row.send_id: Reason.ERASED if row.is_erased else Reason.LEFT for row in rows if row.address is None
                }
                withhold(connection, gone, detail="nobody to write to", now=now)
                claimed = [row for row in rows if row.address is not None]
                if claimed:
                    keys = [row.send_key for row in claimed]
                    connection.execute(_CLAIM, {"keys": keys, "by": owner, "until": now + lease, "now": now})
                    failpoints.at("claim: uncommitted")
                    return [_claimed(row) for row in claimed]
        return []

    def intend(
        self, send_ids: Sequence[str], *, owner: str, body_hash: str, now: datetime, deadline: datetime
    ) -> Mapping[str, Reason]:
        """Re-check all, then commit the intent of all or of none; return who failed and why.

        A send whose lease ran out, or is another worker's, comes back as `paused` and is left as it is.
        """
        with self._store.write() as connection:
            self._store.stop(connection, shared=True)
            lost, paused, ended, keys = check_intents(connection, self._releases, send_ids, owner=owner, now=now)
            failpoints.at("intent: checked")
            withhold(connection, ended, detail="found just before the intent", now=now)
            if paused:
                connection.execute(_PUT_BACK, {"ids": sorted(paused), "now": now})
            failures = {**dict.fromkeys(lost | paused, Reason.PAUSED), **ended}
            if not failures:
                connection.execute(_INTEND, {"keys": keys, "body": body_hash, "until": deadline, "now": now})
                failpoints.at("intent: uncommitted")
        failpoints.at("intent: committed")
        return failures

    def accepted(self, send_ids: Sequence[str], *, message_id: str | None, now: datetime) -> None:
        """Record a 202: a fact, whatever stood there before."""
        with self._store.write() as connection:
            connection.execute(_ACCEPT, {"ids": send_ids, "message": message_id, "now": now})
            failpoints.at("accepted: uncommitted")
        failpoints.at("accepted: committed")

    def sandboxed(self, send_ids: Sequence[str], *, now: datetime, owner: str | None = None) -> None:
        """Validated by the service in sandbox mode, sent to nobody. With `owner`, another worker's are left alone."""
        self._move(send_ids, SendStatus.SANDBOXED, _IS_SENDING, owner=owner, now=now, detail="")

    def unknown(self, send_ids: Sequence[str], *, detail: str, now: datetime, owner: str | None = None) -> None:
        """Nobody knows whether these were accepted. With `owner`, another worker's are left alone."""
        self._move(send_ids, SendStatus.UNKNOWN, _IS_SENDING, owner=owner, now=now, detail=detail)

    def failed(self, send_ids: Sequence[str], *, detail: str, now: datetime, owner: str | None = None) -> None:
        """Certainly not sent, and would not be another time. With `owner`, another worker's are left alone."""
        self._move(send_ids, SendStatus.FAILED, _IS_SENDING | _IS_CLAIMED, owner=owner, now=now, detail=detail)

    def put_back(self, send_ids: Sequence[str], *, now: datetime, owner: str | None = None) -> None:
        """Certainly not accepted: planned again. With `owner`, another worker's are left alone."""
        self._move(send_ids, SendStatus.PLANNED, _IS_SENDING | _IS_CLAIMED, owner=owner, now=now, detail="")

    def withheld(self, send_ids: Sequence[str], *, reason: Reason, now: datetime, owner: str | None = None) -> None:
        """Stopped before the intent, with a reason. With `owner`, another worker's are left alone."""
        with self._store.write() as connection:
            withhold(connection, dict.fromkeys(send_ids, reason), detail="", now=now, owner=owner)

    def expire(self, *, now: datetime) -> int:
        """Turn `sending` rows past their deadline into `unknown`; return how many."""
        with self._store.write() as connection:
            count = connection.execute(_DOUBT_OVERDUE, {"now": now, "until": now + DECIDED_FOR}).rowcount
            # What was decided for another time may lie outside its window, or over a cap, by now: decide it again.
            span = {"from": now - DECIDED_FOR, "until": now + _SKEW}
            while found := connection.execute(_PLANNED_OFF, span).all():
                for is_ahead, detail in (
                    (False, "planned over an hour ago: decided again"),
                    (True, "planned in the future, by a clock that was put back: decided again"),
                ):
                    off = [row.send_id for row in found if row.is_ahead == is_ahead]
                    withhold(connection, dict.fromkeys(off, Reason.OUTSIDE_WINDOW), detail=detail, now=now)
            return count

    def hold(self, *, before: datetime, now: datetime) -> int:
        """Turn `unknown` sends whose request left before that moment into `held`; return how many."""
        with self._store.write() as connection:
            count = connection.execute(_HOLD, {"from": before, "now": now}).rowcount
            failpoints.at("hold: uncommitted")
        failpoints.at("hold: committed")
        return count

    def release(self, send_ids: Sequence[str], *, by: str, reason: str, now: datetime) -> int:
        """A person orders unknown or held sends to be sent again; return how many. The order stays in `controls`."""
        with self._store.write() as connection:
            query = sa.update(sends).where(among(sends.c.send_id, send_ids), _IS_STUCK)
            released = {"released_by": by, "release_reason": reason, "released_at": now, "updated_at": now}
            changed = query.values(**_FREE, **released, status=SendStatus.PLANNED.value).returning(sends.c.send_id)
            moved = connection.scalars(changed).all()
            if moved:
                record_control(
                    connection, scope="send", target=" ".join(sorted(moved)), action="release", reason=reason, by=by,
                    now=now,
                )  # fmt: skip
        return len(moved)

    def _move(
        self,
        send_ids: Sequence[str],
        to: SendStatus,
        where: sa.ColumnElement[bool],
        *,
        owner: str | None,
        now: datetime,
        detail: str,
    ) -> None:
        query = sa.update(sends).where(sends.c.send_id.in_(list(send_ids)), where)
        if owner is not None:
            query = query.where(sends.c.owner == owner)
        with self._store.write() as connection:
            connection.execute(query.values(**_FREE, status=to.value, detail=detail, updated_at=now))
            failpoints.at("moved: uncommitted")
        failpoints.at("moved: committed")


def _is_paused(state: ControlState, now: datetime) -> bool:
    limited = state.sending_paused_until is not None and state.sending_paused_until > now
    return state.everything is not None or state.sending_locked is not None or limited


def _oldest_stage(connection: sa.Connection, state: ControlState, limit: int) -> Sequence[Any]:
    """Lock up to `limit` planned sends of the version and stage that waits longest, skipping other workers' rows."""
    paused = {
        name: sorted(target for target, action in targets.items() if action == "pause")
        for name, targets in (("playbook", state.playbooks), ("account_id", state.accounts))
    }
    oldest, of_stage = _planned(*(name for name, targets in paused.items() if targets))
    values = {f"paused_{name}": targets for name, targets in paused.items() if targets}
    first = connection.execute(oldest, values).one_or_none()
    if first is None:
        return []
    return connection.execute(of_stage, {**values, **first._mapping, "count": limit}).all()


@cache
def _planned(*paused: str) -> tuple[sa.Select[Any], sa.Select[Any]]:
    """Return two queries: for the version and stage that waits longest, and for `count` sends of one.

    `paused` are columns of which some values must wait, given as `paused_...`.
    """
    may_go = [_IS_PLANNED, *(sends.c[name].not_in(sa.bindparam(f"paused_{name}", expanding=True)) for name in paused)]
    oldest = sa.select(sends.c.version_id.label("version"), sends.c.stage_key.label("stage")).where(*may_go)
    of_stage = (
        sa.select(
            *_CLAIMED,
            sends.c.send_key,
            sends.c.attempt,
            people.c.erased_at.is_not(None).label("is_erased"),
            sa.exists().where(delivery_events.c.send_id == sends.c.send_id).label("is_told"),
        )
        .outerjoin(people, people.c.contact_id == sends.c.contact_id)
        .where(*may_go, sends.c.version_id == sa.bindparam("version"), sends.c.stage_key == sa.bindparam("stage"))
        .order_by(sends.c.send_key)
        .limit(sa.bindparam("count"))
        .with_for_update(skip_locked=True, of=sends)
    )
    return oldest.order_by(sends.c.send_key).limit(1).with_for_update(skip_locked=True), of_stage


def _claimed(row: Any) -> Claimed:
    return Claimed(*row[:_COUNT])
