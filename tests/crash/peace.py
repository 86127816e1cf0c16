"""How a simulated world ends: whoever waits is let go on until nothing is left to do but to wait for evidence."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from tests.crash.orders import control
from tests.crash.small_world import journeys
from uptake.operations.reconcile import reconcile

if TYPE_CHECKING:
    from tests.crash.simulation import World


def make_peace(world: World) -> None:
    """No fault, no kill: everybody does their work until nothing is left to do."""
    world.service.share = world.service.log_fails = world.scheduler.locked_ledger = 0
    for number in range(12):
        # Leases, deadlines and breaks run out in minutes; what an old copy may have forgotten, in an hour.
        is_locked = _resume_all(world)
        world.scheduler.advance(timedelta(minutes=61 if is_locked else 6))
        if world.untold:
            world.tell(len(world.untold))
        for body in world.told_again:
            world.store(body)
        world.told_again.clear()
        world.tick(f"peace{number}")
        if world.has_work("planned", "claimed", "sending"):
            world.send(f"peace{number}", batch_size=100)
        elif _is_over(world):
            break
    else:
        world.losses.append("it never comes to rest")
    world.scheduler.advance(timedelta(hours=25))
    reconcile(world.ledger, world.logs, world.events, clock=world.scheduler, include_held=True)


def _resume_all(world: World) -> bool:
    """Open what a person or a refusal has closed; a stop stays. Tell whether the ledger is taken for an old one."""
    controls = world.ledger.releases.controls()
    if controls.everything is not None:
        control(world, "all", "*", "resume", None)
    if controls.sending_locked is not None or controls.sending_paused_until is not None:
        control(world, "sending", "", "resume", None)
    for scope, ordered in (("playbook", controls.playbooks), ("account", controls.accounts)):
        for target in [target for target, action in ordered.items() if action == "pause"]:
            control(world, scope, target, "resume", None)
    return controls.forgotten is not None


def _is_over(world: World) -> bool:
    found = journeys(world.raw, world.stages)
    is_decided = not any(one.next_stage is not None and one.arm == "treatment" for one in found)
    return is_decided and not world.untold and world.ledger.releases.controls().forgotten is None
