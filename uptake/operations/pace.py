"""How many people go into the next request.

A request shares one fate: a lost answer makes everybody in it unknown, one message at fault refuses all. So a run puts
at stake 1, then 10, then 100 people and then all it may: ten times as many as the request before had accepted.
"""

from __future__ import annotations

_STEPS = (10, 100)


class Pace:
    """The size of the next request of one run of one worker."""

    def __init__(self, most: int) -> None:
        """Start with one; `most` is what a request may ever hold."""
        self._most = most
        self._suspects = 0  # the refused message is among the next so many
        self.size = 1

    def passed(self, count: int) -> None:
        """Go on faster, or search among the suspects that are left."""
        self._suspects = max(0, self._suspects - count)
        if self._suspects:
            self.size = max(1, self._suspects // 2)
        else:
            self.size = min(self._most, next((step for step in _STEPS if count < step), self._most))

    def refused(self, count: int) -> None:
        """Search in halves."""
        self._suspects = count if count > 1 else 0
        self.size = max(1, count // 2)

    def doubtful(self) -> None:
        """Start over, one at a time."""
        self._suspects = 0
        self.size = 1
