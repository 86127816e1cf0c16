"""Named points at which a test lets this process die, stop or wait: the proof that being killed there costs nothing.

Unarmed, a point is one comparison. `UPTAKE_FAIL=POINT:N:ACTION` arms the N-th passing of a point; ACTION is `kill`
(SIGKILL), `stop` (SIGSTOP) or `delay` (five seconds). Never set it where mail really leaves.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator

#: Every point, in the order of a message's life. A test fails when one of them is never reached.
POINTS = (
    "enter: drawn",
    "enter: committed",
    "claim: uncommitted",
    "claim: committed",
    "rendered",
    "intent: checked",
    "intent: uncommitted",
    "intent: committed",
    "witness: drafted",
    "witness: noted",
    "post: half the body",
    "post: whole body",
    "post: status read",
    "post: answered",
    "accepted: uncommitted",
    "accepted: committed",
    "moved: uncommitted",
    "moved: committed",
    "webhook: uncommitted",
    "webhook: committed",
    "fold: events inserted",
    "fold: sends folded",
    "fold: uncommitted",
    "fold: committed",
    "stop: uncommitted",
    "stop: committed",
    "reconcile: looked up",
    "reconcile: stored",
    "hold: uncommitted",
    "hold: committed",
)
_DELAY_SECONDS = 5.0

_armed: tuple[str, int, str] | None = None
passed: Counter[str] = Counter()  # how often each point was passed, while armed


def arm(text: str | None) -> None:
    """Arm `POINT:N:ACTION`; None disarms. Raises ValueError for a point that is none."""
    global _armed
    passed.clear()
    if not text:
        _armed = None
        return
    point, number, action = text.rsplit(":", 2)
    if point not in (*POINTS, "none") or action not in ("kill", "stop", "delay"):
        raise ValueError(f"{text!r} is no failpoint; expected one of {', '.join(POINTS)}")
    _armed = (point, int(number), action)


def at(point: str) -> None:
    """Pass a point; it is the last thing this process does if a test wants so."""
    if _armed is None:
        return
    passed[point] += 1
    if (point, passed[point]) != _armed[:2]:
        return
    if _armed[2] == "delay":
        time.sleep(_DELAY_SECONDS)
    else:
        os.kill(os.getpid(), signal.SIGKILL if _armed[2] == "kill" else signal.SIGSTOP)


def in_halves(body: bytes) -> bytes | Iterator[bytes]:
    """Return a request body as it is; armed, in two writes with points between and after."""
    return body if _armed is None else _halves(body)


def _halves(body: bytes) -> Iterator[bytes]:
    yield body[: len(body) // 2]
    at("post: half the body")
    yield body[len(body) // 2 :]
    at("post: whole body")


arm(os.environ.get("UPTAKE_FAIL"))
