"""Which answers of the preference page count, said once."""

from __future__ import annotations

import sqlalchemy as sa

from uptake.adapters.ledger.schema import preferences
from uptake.domain.answers import Answer

#: Kind of a preference: there is no answer any more.
TAKEN_BACK = "taken_back"


def counts() -> sa.ColumnElement[bool]:
    """Rows of `preferences` that count: the newest word of a contact about a feature, unless that takes it back."""
    row, other = preferences.c, preferences.alias("other").c
    is_newer = sa.exists().where(
        other.contact_id == row.contact_id,
        other.value == row.value,
        other.kind.in_([*Answer, TAKEN_BACK]),
        other.preference_id > row.preference_id,
    )
    return row.kind.in_(list(Answer)) & ~is_newer
