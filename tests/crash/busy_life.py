"""A busy while of a ledger: rules drawn evenly seldom lead a mail to its end."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from tests.crash.ledger_base import ADDRESSES, ARMS, KEYS_OF
from tests.crash.ledger_told import EVENTS
from tests.crash.outbox import RELEASE
from tests.crash.small_world import STAGES

if TYPE_CHECKING:
    from tests.crash.ledger_machine import LedgerMachine

_BUSY = ["plan", "plan", "claim", "claim", "send", *["go on"] * 4, *["hear"] * 3, "time", "time", "release", "open"]


def live(machine: LedgerMachine, seed: int, count: int) -> None:
    """Give so many orders in the proportions of real life."""
    chance = random.Random(seed)
    pick, drawn = chance.choice, _Drawn(chance)
    for _ in range(count):
        match pick(_BUSY):
            case "plan":
                machine.tick_plans(contacts=set(chance.sample(sorted(ARMS), 3)), stage=pick(STAGES))
            case "claim":
                machine.claim(limit=pick([1, 2, 10]), dies=None)
            case "send":
                machine.send(limit=pick([1, 2, 10]), is_known=pick([True, False]))
            case "go on" if machine.hands:
                then = pick(["is told", "unknown", "unknown", "dies", "failed", "planned"])
                machine.go_on(data=drawn, is_accepted=pick([True, False]), then=then, dies=None)
            case "hear":
                # Mostly what stops nobody, or soon there is nobody left to mail.
                event, ago = pick(EVENTS[:5] if chance.random() < 0.8 else EVENTS), pick([0, 10, 4_000])
                sent = [key for key, mail in machine.model.mails.items() if mail.attempt] or [None]
                key = pick(sent if chance.random() < 0.97 else KEYS_OF)
                machine.hear(key=key, address=pick(ADDRESSES), event=event, ago=ago, has_group=True, dies=None)
            case "time":
                machine.time_passes(seconds=pick([1, 121, 301, 1_801, 3_601, 90_000]), restarts=False)
                machine.expire()
                machine.reconcile()
            case "release" if machine.model.mails:
                machine.release(data=drawn)
            case "open":
                for where in (("all", "*"), ("playbook", RELEASE.name), ("sending", "")):
                    machine.order(where=where, action="resume", is_person=True)


class _Drawn:
    """Draws from a list as `st.data()` does."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def draw(self, strategy: Any) -> Any:
        return self._chance.choice(list(strategy.elements))
