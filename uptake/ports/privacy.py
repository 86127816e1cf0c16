"""What is known of one person, and how it is forgotten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from uptake.domain.erasure import Subject


@dataclass(frozen=True, kw_only=True)
class FilesRedacted:
    """What became of the files; paths are relative to the home or the raw folder."""

    rewritten: Mapping[str, int]  # file -> lines that were changed
    unread: Sequence[str]  # formats that are not rewritten (archives, Parquet): look there yourself


class Erasures(Protocol):
    """The ledger's side of forgetting."""

    def names(self, address_hash: str) -> list[str]:
        """Return the names known of an address: what to look for beside it. Never kept, never logged."""

    def erase(self, address_hash: str, *, by: str, now: datetime) -> int:
        """Blank everybody with this address and stop all mail to it for good, in one transaction, from its commit on.

        What was sent, decided and enrolled stays, under pseudonyms. Returns how many contacts were blanked; 0 when
        that was done before.
        """

    def redact_bodies(self, subject: Subject) -> int:
        """Take a person out of the stored webhook bodies that are folded; return how many were changed."""

    def compact(self) -> None:
        """Write the database anew where it would keep deleted bytes (SQLite)."""

    def finish(self, address_hash: str, *, report: Mapping[str, Any], now: datetime | None) -> None:
        """Keep the report; `now` None: not everything is done."""

    def known(self, address_hash: str) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """Return table -> rows about an address: people, consents, suppressions, preferences, enrollments, mails,
        delivery_events, tasks, erasures.
        """


class PersonalFiles(Protocol):
    """The files of a home and its raw folder."""

    def redact(self, subject: Subject) -> FilesRedacted:
        """Rewrite the raw files below the home, each atomically; and drop the warehouse that was made of them."""

    def mentions(self, address: str) -> list[str]:
        """Return every file, of the home and the raw folder, in which the address stands."""


class MailEraser(Protocol):
    """What the mail service keeps of an address."""

    def erase(self, address: str) -> str:
        """Ask the service to erase it; return the id of its job. Raises MailerError and its kin."""
