"""The time, and the keys."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """The time, as an argument."""

    def now(self) -> datetime:
        """Return the present moment, aware, in UTC."""


@dataclass(frozen=True, kw_only=True)
class Keys:
    """The key ring, opened. The pseudonym key never changes; token keys are newest first."""

    pseudonym: bytes
    tokens: tuple[bytes, ...]
