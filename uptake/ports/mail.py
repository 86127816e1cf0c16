"""The mail service, and what goes to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from uptake.domain.eligibility import Reason
from uptake.domain.playbooks import Release
from uptake.domain.sends import DeliveryEvent, SuppressionReason
from uptake.ports.adoption import Snapshot
from uptake.ports.ledger import Claimed


class Recipient(NamedTuple):
    """One person in a batch. Holds an address: never logged, never stored outside `people`."""

    send_id: str
    contact_id: str
    address: str
    full_name: str | None
    fields: Mapping[str, Any]  # merge fields: account.*, contact.*, feature.*, sender.*
    unsubscribe_url: str


@dataclass(frozen=True, kw_only=True)
class MailBatch:
    """Messages of one stage of one version, to be sent in one request."""

    release: Release
    stage_key: str
    recipients: tuple[Recipient, ...]


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """A request body ready to leave, and who is not in it.

    A recipient of the batch who is neither in `send_ids` nor in `refused` did not fit (an address that is in
    already, a message that must go alone): render the rest again.
    """

    body: bytes
    body_hash: str
    send_ids: tuple[str, ...]  # in the order of the body's personalizations
    refused: Mapping[str, Reason]  # send_id -> why it could not be rendered


class Mailer(Protocol):
    """The mail service."""

    @property
    def sandbox(self) -> bool:
        """True when the service only validates and sends to nobody; what it takes is `sandboxed`."""

    @property
    def seconds_to_wait(self) -> float:
        """In which the service takes no further request, as its last acceptance said; 0 when it said no such thing."""

    def render(self, batch: MailBatch) -> Rendered:
        """Build the request body. Pure: no I/O. Raises PlaybookError when the stage's text is broken."""

    def post(self, rendered: Rendered) -> str | None:
        """Send it, once; return the service's message id, if it gave one.

        Raises MailerUnavailable, AcceptanceUnknown, UnexpectedAnswer, MessageRefused or SendingForbidden.
        """


class MergeFields(Protocol):
    """What stage texts may say about a person, from one snapshot."""

    def values(
        self, snapshot: Snapshot, release: Release, claimed: Sequence[Claimed]
    ) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
        """Return send_id -> {account, contact, feature, account_feature, sender}, each a row as a dict.

        Who is no longer in the snapshot is absent. Raises SnapshotError.
        """


class Words(Protocol):
    """Fills in what could be said at a task."""

    def __call__(self, release: Release, stage_key: str, values: Mapping[str, Mapping[str, Any]]) -> str | None:
        """Return plain text for one person's `MergeFields.values`; None when a value is missing."""


class Links(Protocol):
    """The addresses of the pages a recipient may open."""

    def unsubscribe_url(self, *, contact_id: str, topic: str, feature_key: str) -> str:
        """Return an https address that is good for ever and tells nothing to whoever reads it."""


class DeliveryEvents(Protocol):
    """Reads the bodies of the event webhook."""

    def read(self, body: bytes, *, received_at: datetime) -> tuple[list[DeliveryEvent], int]:
        """Return the events of one body and how many could not be read. Never raises."""


@dataclass(frozen=True, kw_only=True)
class LoggedMail:
    """One message to one recipient, as the mail service's own log has it; no address in it."""

    message_id: str  # the service's, whole: it names request and recipient
    address_hash: str
    logged_at: datetime


class MailLog(Protocol):
    """The mail service's log of what it took. It lags by an unknown time: what it lacks proves nothing yet.

    Raises MailerUnavailable (also for a rate limit), SendingForbidden (the key may not read it) or MailerError.
    """

    def between(self, since: datetime, until: datetime) -> list[LoggedMail]:
        """Return all that was taken in [since, until). Raises LogIncomplete when it does not list all of it."""

    def to_address(self, address: str, since: datetime) -> list[LoggedMail]:
        """Return what was taken for one address from a moment on."""

    def evidence(self, mails: Sequence[LoggedMail]) -> bytes:
        """Return what the log knows of these, as the event webhook would have posted it: `DeliveryEvents` reads it.

        Mail of other senders on the same account is left out.
        """


class SuppressionLists(Protocol):
    """Whom the mail service mails no more. Addresses are in lower case. Raises MailerError and its kin."""

    def of_everything(self, reason: SuppressionReason) -> set[str]:
        """Return who gets nothing for this reason."""

    def of_group(self, group: int) -> set[str]:
        """Return who left one unsubscribe group."""

    def add(self, addresses: Sequence[str], *, group: int | None) -> None:
        """Put addresses on the list of a group, or of everything (None)."""


class Witness(Protocol):
    """Remembers, outside the ledger, the newest intent of this home: a ledger that lacks it was restored."""

    def note(self, send_id: str, sending_at: datetime) -> None:
        """Keep it, durably, before the request leaves."""

    def newest(self) -> tuple[str, datetime] | None:
        """Return what was kept last; '' as the send id where that is damaged."""
