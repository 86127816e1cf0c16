"""Takes over a do-not-contact list. Addresses are hashed as they are read, and kept nowhere."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from uptake.domain.ids import address_hash
from uptake.domain.sends import SuppressionReason
from uptake.errors import Refused
from uptake.ports import Keys, Ledger

_ADDRESS = re.compile(r"^[^@\s,;<>\"']+@[^@\s,;<>\"']+\.[^@\s,;<>\"']+$")
_HEADS = ("email", "e-mail", "address", "mail", "email address", "e-mail address")


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What a list came to."""

    addresses: int  # different ones, known to us or not
    unreadable: tuple[int, ...]  # lines without an address; what they say is told to nobody


def import_suppressions(
    ledger: Ledger, keys: Keys, lines: Iterable[str], *, reason: str, by: str, now: datetime
) -> Imported:
    """Suppress every address of a list for all topics, people who come later included.

    Args:
        ledger: Where suppressions live.
        keys: The key ring; addresses are hashed with its pseudonym key.
        lines: An address a line, or CSV with a column `email` or `address`.
        reason: Why, e.g. where the list comes from.
        by: Who says so.
        now: When.

    Raises:
        Refused: Nobody or no reason is named, or the list holds no address at all.
    """
    why, who = " ".join(reason.split()), " ".join(by.split())
    if not why or not who:
        raise Refused(f"expected a reason and a name; found {why!r} and {who!r}")
    hashes, unreadable = set(), []
    column: int | None = None
    for number, cells in enumerate(csv.reader(lines), start=1):
        if number == 1 and (column := _column(cells)) is not None:
            continue
        cell = next((cell.strip() for cell in (cells if column is None else cells[column : column + 1])), "")
        if _ADDRESS.match(cell):
            hashes.add(address_hash(keys.pseudonym, cell))
        elif any(cell.strip() for cell in cells):
            unreadable.append(number)
    if not hashes:
        raise Refused("the list holds no address; expected one a line, or CSV with a column `email`")
    ledger.people.suppress_all(
        sorted(hashes), reason=SuppressionReason.IMPORTED, source=f"imported by {who}: {why}", now=now
    )
    return Imported(addresses=len(hashes), unreadable=tuple(unreadable))


def _column(head: list[str]) -> int | None:
    names = [cell.strip().lower().lstrip("\ufeff") for cell in head]
    return next((names.index(name) for name in _HEADS if name in names), None)
