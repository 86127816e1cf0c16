"""How simulated recipients react to a mail: some read it, most do not, a few never want another one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from math import exp
from statistics import NormalDist
from typing import Any

from uptake.sandbox.base import CustomerBase
from uptake.sandbox.chance import unit
from uptake.sandbox.fakegrid import Reaction
from uptake.sandbox.habits import arrival, reads

P_CLICK = 0.35  # of those who read
P_ONE_CLICK = 0.01
P_SPAM_REPORT = 0.0005
P_DEFERRED = 0.01
P_MACHINE_OPEN = 0.12  # mail programs that fetch pictures before anybody looks
P_SCANNER = 0.02  # gateways that follow every link
_NORMAL = NormalDist()


class SimulatedPeople:
    """The people of a customer base as recipients; implements fakegrid's `Recipients`.

    An answer depends on the seed, the address and the subject only, so it is the same in every home and after
    every restart.
    """

    def __init__(self, base: CustomerBase) -> None:
        self._base = base

    def reactions(self, accepted: Mapping[str, Any]) -> Iterable[Reaction]:
        """Return all that one accepted mail leads to."""
        to, subject = accepted["to"].strip().lower(), accepted.get("subject") or ""
        yield Reaction(event="processed", delay=timedelta(seconds=1))
        match arrival(self._base.seed, to, subject):
            case "bounced":
                yield Reaction(event="bounce", delay=timedelta(seconds=20), fields={"type": "bounce"})
            case "blocked":
                reason = "554 blocked: try again later"
                yield Reaction(
                    event="bounce", delay=timedelta(seconds=30), fields={"type": "blocked", "reason": reason}
                )
            case "delivered":
                yield from self._delivered(to, subject, tuple(accepted.get("links") or ()))

    def _delivered(self, to: str, subject: str, links: tuple[str, ...]) -> Iterator[Reaction]:
        def chance(question: str) -> float:
            return unit(self._base.seed, question, to, subject)

        arrived = timedelta(seconds=2 + 118 * chance("arrives"))
        if chance("deferred") < P_DEFERRED:
            yield Reaction(event="deferred", delay=arrived)
            arrived += timedelta(minutes=5 + 55 * chance("tried again"))
        yield Reaction(event="delivered", delay=arrived)
        if chance("machine") < P_MACHINE_OPEN:
            yield Reaction(event="open", delay=arrived + timedelta(seconds=5), fields={"sg_machine_open": True})
        if chance("scanner") < P_SCANNER:
            for link in links:
                yield Reaction(event="click", delay=arrived + timedelta(seconds=9), fields={"url": link})
        looked = arrived + _hours(chance("looks after"))
        if reads(self._base, to, subject):
            yield Reaction(event="open", delay=looked)
            if links and chance("clicks") < P_CLICK:
                followed = timedelta(seconds=20 + 400 * chance("clicks after"))
                yield Reaction(event="click", delay=looked + followed, fields={"url": links[0]})
        if chance("one click") < P_ONE_CLICK:  # from the list of mails, read or not
            yield Reaction(action="one_click", delay=looked + timedelta(minutes=1))
        if chance("spam") < P_SPAM_REPORT:
            yield Reaction(event="spamreport", delay=looked + timedelta(minutes=2))


def _hours(u: float) -> timedelta:
    """Return how long a mail waits: three hours in the middle, two days at most."""
    return timedelta(hours=min(3.0 * exp(1.2 * _NORMAL.inv_cdf(min(max(u, 1e-9), 1 - 1e-9))), 48.0))
