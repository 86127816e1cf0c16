"""How many people go into the next request.

A request shares one fate: a lost answer makes everybody in it unknown, one message at fault refuses all. So a run puts
at stake 1, then 10, then 100 people, and more only when it has seen at least as many accepted since the last doubt.
"""

from __future__ import annotations

_USUAL = 100


class Pace:
    """The size of the next request of one run of one worker."""

    def __init__(self, most: int) -> None:
        """Start with one; `most` is what a request may ever hold."""
        self._most = most
        self._suspects = 0  # the refused message is among the next so many
        self._trusted = 0  # accepted since the last doubt
        self.size = 1

    def passed(self, count: int) -> None:
        """Go on faster, or search among the suspects that are left."""
        self._suspects = max(0, self._suspects - count)
        self._trusted += count
        if self._suspects:
            self.size = max(1, self._suspects // 2)
        elif count < 10:
            self.size = min(self._most, 10)
        else:
            self.size = self._most if self._trusted >= self._most else min(self._most, _USUAL)

    def refused(self, count: int) -> None:
        """Search in halves."""
        self._suspects = count if count > 1 else 0
        self.size = max(1, count // 2)

    def doubtful(self) -> None:
        """Start over, one at a time."""
        self._suspects = self._trusted = 0
        self.size = 1
