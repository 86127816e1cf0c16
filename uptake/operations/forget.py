"""Forgets a person, and proves it; or tells them all that is known. Both by their address.

The address is suppressed for good under a keyed hash: who is forgotten is not mailed again when a source names them
anew. Everything here can be repeated: what a first run could not reach, the next one does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from uptake import failpoints
from uptake.domain.erasure import Subject
from uptake.domain.ids import address_hash, erased_token
from uptake.errors import MailerError, Refused
from uptake.ports import Keys, Ledger, MailEraser, PersonalFiles


@dataclass(frozen=True, kw_only=True)
class Forgotten:
    """The proof. Holds neither address nor name."""

    address_hash: str
    requested_by: str
    requested_at: datetime
    contacts: int  # blanked now
    webhook_bodies: int  # rewritten now
    files: Mapping[str, int]  # raw file -> lines rewritten now
    unread: Sequence[str]  # raw files in formats that are not rewritten
    mail_service: str  # what it answered
    found: Sequence[str]  # files in which the address still stands

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left that anybody knows of."""
        return not self.found and not self.unread and self.mail_service.startswith("job")


def forget(
    ledger: Ledger,
    keys: Keys,
    files: PersonalFiles,
    mail_service: MailEraser,
    *,
    address: str,
    by: str,
    now: datetime,
) -> Forgotten:
    """Forget one address. Webhook bodies must have been folded before: `record_delivery`.

    Args:
        ledger: Operational truth.
        keys: The key ring.
        files: Of the home.
        mail_service: What keeps logs of its own.
        address: Whose.
        by: Who ordered it.
        now: When.

    Raises:
        Refused: It is no address, or nobody is named.
    """
    address, who = _checked(address), " ".join(by.split())
    if not who:
        raise Refused("expected a name; found none")
    hashed = address_hash(keys.pseudonym, address)
    subject = Subject(address=address, names=ledger.erasures.names(hashed), token=erased_token(hashed))
    # Files first: the names that stand beside the address there are known only until the ledger is blanked.
    rewritten = files.redact(subject)
    failpoints.at("forget: files rewritten")
    contacts = ledger.erasures.erase(hashed, by=who, now=now)
    failpoints.at("forget: ledger blanked")
    bodies = ledger.erasures.redact_bodies(subject)
    ledger.erasures.compact()
    try:
        answer = f"job {mail_service.erase(address)}".strip()
    except MailerError as error:
        answer = f"not asked: {error}"
    report = Forgotten(
        address_hash=hashed,
        requested_by=who,
        requested_at=now,
        contacts=contacts,
        webhook_bodies=bodies,
        files=rewritten.rewritten,
        unread=rewritten.unread,
        mail_service=answer,
        found=files.mentions(address),
    )
    kept = asdict(report) | {"requested_at": now.isoformat(), "is_complete": report.is_complete}
    ledger.erasures.finish(hashed, report=kept, now=now if report.is_complete else None)
    return report


def export(ledger: Ledger, keys: Keys, *, address: str) -> Mapping[str, Sequence[Mapping[str, Any]]]:
    """Return everything the ledger knows of an address. Raises Refused when it is none."""
    return ledger.erasures.known(address_hash(keys.pseudonym, _checked(address)))


def _checked(address: str) -> str:
    address = address.strip()
    name, at, host = address.rpartition("@")
    if not (name and at and "." in host) or any(sign.isspace() for sign in address):
        raise Refused("that is no e-mail address; expected one, like name@example.com")
    return address
