"""The time: the machine's, or the sandbox's, which one file holds for every process of a demo."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Return the present moment, in UTC."""
        return datetime.now(UTC)


class StoppedClock:
    """One moment, for a whole plan or tick at a given time (`uptake tick --now`)."""

    def __init__(self, moment: datetime) -> None:
        self._moment = moment

    def now(self) -> datetime:
        """Return that moment."""
        return self._moment


class SandboxClock:
    """A clock that stands still until somebody moves it; engine, web, fakegrid and signatures all read it."""

    def __init__(self, path: Path, *, start: datetime) -> None:
        self._path = path
        self._start = start

    def now(self) -> datetime:
        """Return the sandbox's moment, in UTC."""
        try:
            return datetime.fromisoformat(self._path.read_text())
        except FileNotFoundError:
            return self._start

    def move(self, moment: datetime) -> None:
        """Set the sandbox's moment, atomically; time never runs backwards."""
        if moment < self.now():
            raise ValueError(f"the sandbox clock stands at {self.now()}; {moment} lies before it")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_suffix(".draft")
        draft.write_text(moment.isoformat())
        draft.replace(self._path)
