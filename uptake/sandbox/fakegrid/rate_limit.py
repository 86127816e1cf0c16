"""How many mail requests are taken in a window of the sandbox's time, and what the headers say of it.

SendGrid publishes neither its numbers nor when it sends these headers, so all that was seen can be asked for: headers
that are true, none at all, or wrong ones.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from uptake.ports import Clock

#: `milliseconds` and `past` are wrong: a moment in another unit, and one that is over.
Headers = Literal["true", "absent", "milliseconds", "past", "words"]


@dataclass(frozen=True, kw_only=True)
class RateLimit:
    """So many requests in each window; windows begin at whole multiples of their length."""

    requests: int
    window: timedelta = timedelta(minutes=1)
    headers: Headers = "true"


class Meter:
    """Counts the requests of the window it is in."""

    def __init__(self, limit: RateLimit, clock: Clock) -> None:
        self._limit, self._clock, self._lock = limit, clock, threading.Lock()
        self._window, self._count = 0, 0
        self.count_refused = 0

    def take(self) -> bool:
        """Count one request; return whether it is still within the limit."""
        with self._lock:
            window = int(self._clock.now().timestamp() // self._limit.window.total_seconds())
            if window != self._window:
                self._window, self._count = window, 0
            self._count += 1
            is_within = self._count <= self._limit.requests
            self.count_refused += not is_within
            return is_within

    def headers(self) -> dict[str, str]:
        """Return what an answer says about the window."""
        with self._lock:
            remaining = max(0, self._limit.requests - self._count)
            reset = int((self._window + 1) * self._limit.window.total_seconds())
        match self._limit.headers:
            case "absent":
                return {}
            case "true":
                told = str(reset)
            case "milliseconds":
                told = str(reset * 1000)
            case "past":
                told = str(reset - 86_400)
            case "words":
                told = "soon"
        return {
            "X-RateLimit-Limit": str(self._limit.requests),
            "X-RateLimit-Remaining": str(remaining),
            "X-RateLimit-Reset": told,
        }
