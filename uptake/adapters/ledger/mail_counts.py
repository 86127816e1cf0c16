"""What became of a playbook's mails, by mailbox domain: what the guardrails look at."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import sqlalchemy as sa

from uptake.adapters.ledger.schema import controls, delivery_events, people, sends, suppressions
from uptake.domain.guardrails import HARMS, MailCounts
from uptake.domain.sends import DeliveryEventType, SuppressionReason
from uptake.ports import ENGINE_NAMES


def mail_counts(connection: sa.Connection, since: Mapping[str, datetime]) -> dict[str, list[MailCounts]]:
    """Return `uptake.ports.Delivery.counts`: one query for all playbooks, because every tick asks."""
    if not since:
        return {}
    resumed_at = _resumed_at(connection)
    in_time = [
        (sends.c.playbook == playbook)
        & (sends.c.accepted_at >= max(moment, resumed_at.get(playbook, moment), resumed_at.get("", moment)))
        for playbook, moment in sorted(since.items())
    ]
    taken = (
        sa.select(
            sends.c.send_id,
            sends.c.playbook,
            sends.c.accepted_at,
            sends.c.address_hash,
            sa.func.row_number()
            .over(partition_by=[sends.c.playbook, sends.c.address_hash], order_by=sends.c.accepted_at.desc())
            .label("recency"),
            _domain(connection).label("mailbox_domain"),
        )
        .select_from(sends.outerjoin(people, people.c.contact_id == sends.c.contact_id))
        .where(sends.c.accepted_at >= min(since.values()), sa.or_(*in_time))
        .subquery()
    )
    event = delivery_events.c
    is_bounce = event.event == DeliveryEventType.BOUNCE.value
    is_blocked = event.kind == "blocked"
    harmful = {
        "complaints": event.event == DeliveryEventType.SPAM_REPORT.value,
        "bounces": is_bounce & ~is_blocked,
        "refusals": (is_bounce & is_blocked) | (event.event == DeliveryEventType.DROPPED.value),
    }
    stop = suppressions.c
    # Somebody who stops mail does so once, however many they got before: the last one counts.
    has_stopped = (taken.c.recency == 1) & sa.exists().where(
        stop.address_hash == taken.c.address_hash,
        stop.reason == SuppressionReason.UNSUBSCRIBED.value,
        stop.suppressed_at >= taken.c.accepted_at,
    )
    by_mail = (
        sa.select(
            taken.c.playbook,
            taken.c.mailbox_domain,
            *(sa.func.max(sa.case((found, 1), else_=0)).label(harm) for harm, found in harmful.items()),
            sa.func.max(sa.case((has_stopped, 1), else_=0)).label("unsubscribes"),
        )
        .select_from(taken.outerjoin(delivery_events, event.send_id == taken.c.send_id))
        .group_by(taken.c.playbook, taken.c.send_id, taken.c.mailbox_domain)
        .subquery()
    )
    query = (
        sa.select(
            by_mail.c.playbook,
            by_mail.c.mailbox_domain,
            sa.func.count().label("mails"),
            *(sa.func.sum(by_mail.c[harm]) for harm in HARMS),
        )
        .group_by(by_mail.c.playbook, by_mail.c.mailbox_domain)
        .order_by(by_mail.c.playbook, by_mail.c.mailbox_domain)
    )
    found: dict[str, list[MailCounts]] = {playbook: [] for playbook in since}
    for playbook, domain, mails, *harms in connection.execute(query):
        counts = dict(zip(HARMS, map(int, harms), strict=True))
        found[playbook].append(MailCounts(mailbox_domain=domain, mails=mails, harms=counts))
    return found


def _domain(connection: sa.Connection) -> sa.ColumnElement[str]:
    """Return what follows the last sign of an address; '' where there is none any more."""
    address = sa.func.lower(sa.func.coalesce(people.c.address, ""))
    if connection.dialect.name == "sqlite":
        at = sa.func.instr(address, "@")
        return sa.case((at > 0, sa.func.substr(address, at + 1)), else_="")
    return sa.func.split_part(address, "@", 2)


def _resumed_at(connection: sa.Connection) -> dict[str, datetime]:
    """Return when a person last let each playbook ('' = everything) go on: what was seen before was looked at."""
    row = controls.c
    target = sa.case((row.scope == "all", ""), else_=row.target)
    query = (
        sa.select(target, sa.func.max(row.ordered_at))
        .where(row.action == "resume", row.ordered_by.not_in(sorted(ENGINE_NAMES)), row.scope.in_(["all", "playbook"]))
        .group_by(target)
    )
    return {row[0]: row[1] for row in connection.execute(query)}
