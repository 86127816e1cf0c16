"""Every error Uptake raises on purpose; a class per decision of the caller.

* UptakeError            shown as one line, never as a traceback
  - UsageError           the command was used wrongly (exit code 2)
  - Refused              the engine will not do this now, and says why (exit code 1)
    + Held               a gate, an approval or a lock stands in between
  - SettingsError        a setting is missing or unusable (exit code 2)
  - PlaybookError        a playbook file is wrong; the text names file and line (exit code 1)
  - SnapshotError        a snapshot is missing, damaged or lacks a column (exit code 1)
  - TransformError       dbt could not build the marts (exit code 1)
  - LedgerError          the ledger is locked, foreign or of another version (exit code 1)
  - TaskNotTaken         the task webhook did not take a post: it is posted again by the next tick
  - MailerError
    + MailerUnavailable  certainly not accepted (no connection, 429): try again later
    + AcceptanceUnknown  may have been accepted (time-out, 5xx): keep the claim, never send again
      - UnexpectedAnswer an answer the service does not give: something sits in between, stop
    + MessageRefused     would be refused again (4xx): record why
    + SendingForbidden   key, credits or sender refused (401, 403): stop all sending
"""

from __future__ import annotations


class UptakeError(Exception):
    """Base of every error that is shown to a person as one line."""

    exit_code = 1


class UsageError(UptakeError):
    """The command was used wrongly."""

    exit_code = 2


class SettingsError(UptakeError):
    """A setting is missing or unusable."""

    exit_code = 2


class Refused(UptakeError):
    """The engine will not do this now, and says why."""


class Held(Refused):
    """A gate, an approval or a lock stands in between."""


class PlaybookError(UptakeError):
    """A playbook file is wrong; the text names file and line."""


class SnapshotError(UptakeError):
    """A snapshot is missing, damaged or lacks a column."""


class TransformError(UptakeError):
    """dbt could not build the marts."""


class LedgerError(UptakeError):
    """The ledger is locked, foreign or of another version."""


class TaskNotTaken(UptakeError):
    """The task webhook did not take a post; `is_down`: it would take no other now, either."""

    def __init__(self, message: str, *, is_down: bool) -> None:
        super().__init__(message)
        self.is_down = is_down


class MailerError(UptakeError):
    """A request to the mail service did not end in a plain acceptance."""


class MailerUnavailable(MailerError):
    """Certainly not accepted; may be tried again after `retry_after` seconds."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class AcceptanceUnknown(MailerError):
    """May have been accepted; is never sent again without evidence."""


class UnexpectedAnswer(AcceptanceUnknown):
    """An answer that SendGrid does not give (3xx, a strange 2xx): something sits in between; the run stops."""


class MessageRefused(MailerError):
    """Would be refused again; `recipient` is the position of the named address, if one was named."""

    def __init__(self, message: str, *, recipient: int | None = None) -> None:
        super().__init__(message)
        self.recipient = recipient


class LogIncomplete(MailerError):
    """The mail service's log does not list all that was taken in some moment."""


class SendingForbidden(MailerError):
    """The key, the credits or the sender was refused: all sending stops until a person resumes it."""
