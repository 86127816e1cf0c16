"""Keeps test runs from mailing customers: outside production, everybody's mail goes to one address of our own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from uptake.adapters.mail_values import is_address
from uptake.errors import MessageRefused, SettingsError
from uptake.ports import MailBatch, Mailer, Rendered


class SinkMailer:
    """A mailer that rewrites every recipient, unless they are allowed.

    Each message gets an address of its own below the sink (`sink+<send id>@...`): a request holds an address once, and
    who reads the sink can tell the messages apart.
    """

    def __init__(self, inner: Mailer, sink: str, *, allowed: Sequence[str] = ()) -> None:
        """Check the addresses.

        Args:
            inner: What sends.
            sink: The address that gets the mail of all others.
            allowed: Addresses, or domains as `@example.com`, whose mail goes to them.

        Raises SettingsError.
        """
        name, at, host = sink.strip().rpartition("@")
        if not (name and at and host):
            raise SettingsError(f"UPTAKE_MAIL_SINK is {sink!r}; expected an address")
        bad = [one for one in allowed if one.count("@") != 1 or one.endswith("@")]
        if bad:
            raise SettingsError(f"UPTAKE_MAIL_ALLOWED holds {bad[0]!r}; expected addresses, or domains as @example.com")
        self._inner = inner
        self._name, self._host = name, host
        self._allowed = frozenset(one.strip().lower() for one in allowed)

    @property
    def sandbox(self) -> bool:
        """Whether the service only validates."""
        return self._inner.sandbox

    @property
    def seconds_to_wait(self) -> float:
        """See `uptake.ports.Mailer`."""
        return self._inner.seconds_to_wait

    def render(self, batch: MailBatch) -> Rendered:
        """Build the request body, to whom it may go."""
        recipients = tuple(one._replace(address=self._address(one.address, one.send_id)) for one in batch.recipients)
        return self._inner.render(replace(batch, recipients=recipients))

    def post(self, rendered: Rendered) -> str | None:
        """Send it, once. An address that is refused is named to nobody: the sink's fault is no customer's."""
        try:
            return self._inner.post(rendered)
        except MessageRefused as error:
            raise MessageRefused(str(error)) from error

    def close(self) -> None:
        """Close what sends."""
        close = getattr(self._inner, "close", None)
        if close is not None:
            close()

    def _address(self, address: str, send_id: str) -> str:
        own = address.strip().lower()
        if not is_address(address):
            return address  # refused with its reason, as it would be in production
        if own in self._allowed or f"@{own.rpartition('@')[2]}" in self._allowed:
            return address
        return f"{self._name}+{send_id[:16]}@{self._host}"
