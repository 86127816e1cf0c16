"""Which consents count, said once."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from uptake.adapters.ledger.schema import consents

#: The basis of a person who gave none, or refused: nothing is mailed, whatever the workspace's default basis is.
REFUSED = "none"


def counts(now: datetime) -> sa.ColumnElement[bool]:
    """Rows of `consents` that count at `now`: those in force, or the refusal alone where it is the newest word.

    Of two words from one moment the refusal wins. An earlier refusal counts again once the consent after it has ended.
    """
    row, other = consents.c, consents.alias("other").c
    is_word = other.withdrawn_at.is_(None) & (other.address_hash == row.address_hash)
    is_refusal = row.basis == REFUSED
    has_not_ended = sa.or_(other.expires_at.is_(None), other.expires_at > now)
    later_consent = sa.exists().where(is_word, has_not_ended, other.basis != REFUSED, other.given_at > row.given_at)
    later_refusal = sa.exists().where(is_word, other.basis == REFUSED, other.given_at >= row.given_at)
    return (
        row.withdrawn_at.is_(None)
        & sa.or_(row.expires_at.is_(None), row.expires_at > now)
        & sa.or_(is_refusal & ~later_consent, ~is_refusal & ~later_refusal)
    )
