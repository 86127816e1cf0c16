from __future__ import annotations

import itertools
from datetime import timedelta

import pytest
import sqlalchemy as sa

from uptake.adapters.ledger.schema import suppressions
from uptake.adapters.ledger.suppression import Stop, in_force, suppress
from uptake.domain.sends import SuppressionReason

STOP, LIFT = "suppressed_at", "lifted_at"


def stop(address, minute, what, group, now):
    moment = {what: now + timedelta(minutes=minute)}
    reason = SuppressionReason.UNSUBSCRIBED
    return Stop(address_hash=address, topic="news", reason=reason, source="test", topic_group=group, **moment)


@pytest.mark.parametrize(
    ("words", "is_stopped"),
    [
        ([(1, STOP, 7), (2, LIFT, None), (3, STOP, None)], True),
        ([(1, STOP, None), (2, STOP, None), (3, LIFT, 7)], False),
        ([(1, STOP, 7), (2, LIFT, None), (2, STOP, None)], True),  # at the same moment the stop wins
        ([(1, LIFT, None), (2, LIFT, 7)], False),
    ],
)
def test_neither_order_nor_company_of_an_addresss_words_counts(ledger, now, words, is_stopped):
    """Each order is another address; of all of them, the words before the cut come in one transaction."""
    orders = {str(number): order for number, order in enumerate(itertools.permutations(words))}
    latest = {what: max((minute for minute, one, _ in words if one == what), default=None) for what in (STOP, LIFT)}
    times = [None if minute is None else now + timedelta(minutes=minute) for minute in latest.values()]
    row = suppressions.c
    for cut in range(len(words) + 1):
        for part in (slice(cut), slice(cut, None)):
            told = [stop(f"{cut}-{name}", *word, now) for name, order in orders.items() for word in order[part]]
            with ledger._store.write() as connection:
                suppress(connection, told, now=now)
        query = sa.select(row.suppressed_at, row.lifted_at, row.topic_group, in_force().label("is_stopped"))
        with ledger._store.read() as connection:
            found = connection.execute(query.where(row.address_hash.like(f"{cut}-%"))).all()
        assert [tuple(one) for one in found] == [(*times, 7, is_stopped)] * len(orders)
