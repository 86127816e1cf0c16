"""What the mail service tells of a mail: by its webhook, and in its log."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import orjson

from tests.crash.ledger_base import ID_OF
from tests.crash.ledger_model import Key, Model
from tests.crash.outbox import GROUP, KEYS
from uptake.domain.ids import address_hash
from uptake.ports import LoggedMail

EVENTS = [
    *(("processed", ""), ("deferred", ""), ("delivered", ""), ("open", ""), ("click", ""), ("dropped", "")),
    *(("bounce", "bounce"), ("bounce", "blocked"), ("spamreport", ""), ("unsubscribe", "")),
    *(("group_unsubscribe", ""), ("group_resubscribe", "")),
]


class Log:
    """The mail service's log of what the model says it accepted."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def between(self, since: datetime, until: datetime) -> list[LoggedMail]:
        return [mail for mail in self._mails() if since <= mail.logged_at < until]

    def to_address(self, address: str, since: datetime) -> list[LoggedMail]:
        hashed = address_hash(KEYS.pseudonym, address)
        return [mail for mail in self._mails() if mail.address_hash == hashed and mail.logged_at >= since]

    def evidence(self, mails: Sequence[LoggedMail]) -> bytes:
        told = []
        for mail in mails:
            key, address, at = self._model.accepted[int(mail.message_id[1:])]
            told.append(event_of(key, address, "processed", at))
        return orjson.dumps(told)

    def _mails(self) -> list[LoggedMail]:
        return [
            LoggedMail(message_id=f"m{number}", address_hash=address_hash(KEYS.pseudonym, address), logged_at=at)
            for number, (_, address, at) in enumerate(self._model.accepted)
        ]


def event_of(
    key: Key | None, address: str, name: str, at: datetime, *, kind: str = "", has_group: bool = True
) -> dict[str, Any]:
    """Return an event as the webhook brings it."""
    event: dict[str, Any] = {"event": name, "email": address, "timestamp": int(at.timestamp())}
    if kind:
        event["type"] = kind
    if key is not None:
        event["uptake_send_id"] = ID_OF[key]
    if has_group and name.startswith("group_"):
        event["asm_group_id"] = GROUP
    return event
