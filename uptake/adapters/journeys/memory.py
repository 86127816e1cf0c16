"""Answers that a process gives again, without asking DuckDB, while nothing they rest on has changed.

Most ticks find the same snapshot, the same ledger and nothing due. A snapshot never changes, the ledger's tables are
compared whole, and time is let pass only up to the moment that the rules themselves name as the next one that may
change the answer. Nothing is persisted: a new process looks for itself.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

import pyarrow as pa

Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True)
class World:
    """All that an answer rests on, but for the time."""

    rests_on: tuple[object, ...]  # compared by ==
    tables: Mapping[str, pa.Table]

    def is_same(self, other: World) -> bool:
        """Compare everything, the rows of tables in their order."""
        return (
            self.rests_on == other.rests_on
            and self.tables.keys() == other.tables.keys()
            and all(table.equals(other.tables[name]) for name, table in self.tables.items())
        )


@dataclass(frozen=True, kw_only=True)
class _Kept(Generic[Answer]):
    world: World
    answer: Answer
    since: datetime
    until: datetime | None


class Memory(Generic[Answer]):
    """The last answer to each question."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, _Kept[Answer]] = {}

    def recall(self, question: Hashable, world: World, now: datetime) -> Answer | None:
        """Return the answer, if it is certain that it would be the same now."""
        kept = self._kept.get(question)
        if kept is None or now < kept.since or (kept.until is not None and now >= kept.until):
            return None
        return kept.answer if kept.world.is_same(world) else None

    def keep(self, question: Hashable, world: World, answer: Answer, *, now: datetime, until: datetime | None) -> None:
        """Keep an answer that holds from `now` until just before `until` (None: for good) in this world."""
        self._kept[question] = _Kept(world=world, answer=answer, since=now, until=until)

    def forget(self, question: Hashable) -> None:
        """Drop an answer that will not hold."""
        self._kept.pop(question, None)
