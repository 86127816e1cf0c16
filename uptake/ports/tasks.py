"""Whoever is told of tasks: a CRM, a ticket system."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class TaskReceiver(Protocol):
    """The address that the workspace's `task_webhook` names."""

    def post(self, body: bytes, *, key: str, at: datetime) -> None:
        """Post one JSON document, signed. Raises TaskNotTaken.

        Args:
            body: The document, as it is signed.
            key: The same for each try of the same news: whoever has it drops a second one.
            at: The moment of posting, which is signed, too.
        """
