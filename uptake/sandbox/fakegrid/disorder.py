"""What the event webhook does to its receiver beside telling the truth: repeats, another order, events without ids.

SendGrid documents that events repeat and promises no order; that asynchronous bounces come without ids is known from
its users. Which event is meant follows from a seed and the event's own id, so a run can be repeated.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

_KEPT_OF_A_NAMELESS = ("email", "timestamp", "event", "type", "reason", "status", "sg_event_id")
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Disorder:
    """Shares of all events, and whether they keep their order."""

    seed: int
    repeated: float = 0.2  #: posted once more, in a post of their own
    nameless: float = 0.5  #: of bounces: as asynchronous ones come, with nothing but the address
    extended: float = 0.05  #: with a key that nobody knows
    is_shuffled: bool = True

    def shuffled(self, events: Iterable[_T]) -> list[_T]:
        """Return the events in another order."""
        found = list(events)
        if self.is_shuffled:
            random.Random(f"{self.seed}:{len(found)}").shuffle(found)  # noqa: S311 (it only has to repeat itself)
        return found

    def is_repeated(self, key: str) -> bool:
        """Tell whether an event is posted once more."""
        return self._draw("repeated", key) < self.repeated

    def told(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Return an event as it is told."""
        key = event["sg_event_id"]
        if event["event"] == "bounce" and self._draw("nameless", key) < self.nameless:
            return {name: event[name] for name in _KEPT_OF_A_NAMELESS if name in event}
        if self._draw("extended", key) < self.extended:
            return {**event, "ключ": {"новый": ["ünbekannt", None]}}
        return dict(event)

    def _draw(self, what: str, key: str) -> float:
        return random.Random(f"{self.seed}:{what}:{key}").random()  # noqa: S311
