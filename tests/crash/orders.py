"""What people order in a simulated world, in between whatever the engine does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.crash.outbox import KEYS, RELEASE
from tests.crash.scheduler import Process
from tests.crash.small_world import load
from uptake.domain.ids import address_hash
from uptake.domain.sends import SuppressionReason

if TYPE_CHECKING:
    from tests.crash.simulation import World


_ADDRESSES = """
select address_hash from people where contact_id = :contact
union select address_hash from sends where contact_id = :contact
"""


def unsubscribe(world: World, contact_id: str, process: Process) -> None:
    """As the pages do: everything, or a topic, at every address they were ever mailed at."""
    topic = world.chance.choice((None, "training", "other"))
    known = {hashed for (hashed,) in world.raw.execute(_ADDRESSES, {"contact": contact_id}) if hashed is not None}
    world.ledger.people.unsubscribe(contact_id, topic=topic, source="web", now=world.scheduler.now())
    if topic != "other":
        for hashed in sorted(known):
            world.stopped("address", hashed, "unsubscribed", process)


def import_list(world: World, contact_id: str, process: Process) -> None:
    listed = address_hash(KEYS.pseudonym, world.addresses[contact_id])
    world.ledger.people.suppress_all(
        [listed], reason=SuppressionReason.IMPORTED, source="list", now=world.scheduler.now()
    )
    world.stopped("address", listed, "imported", process)


def forget(world: World, contact_id: str, process: Process) -> None:
    hashed = address_hash(KEYS.pseudonym, world.addresses[contact_id])
    world.ledger.erasures.erase(hashed, by="Grace", now=world.scheduler.now())
    world.stopped("address", hashed, "erased", process)


def reach_goal(world: World, contact_id: str, _process: Process) -> None:
    world.reached_goal.add(contact_id)


def leave(world: World, contact_id: str, process: Process) -> None:
    world.ledger.enrollments.leave(RELEASE.name, contact_id, reason="asked", by="Grace", now=world.scheduler.now())
    world.stopped("contact", contact_id, "taken out", process)


def move(world: World, contact_id: str, _process: Process) -> None:
    """Somebody has another address from now on."""
    world.addresses[contact_id] = f"{contact_id}-moved@customer.example"
    load(world.ledger, {contact_id: world.addresses[contact_id]}, now=world.scheduler.now())


def pause(world: World, contact_id: str, process: Process) -> None:
    scope, target = world.chance.choice(
        (("all", "*"), ("playbook", RELEASE.name), ("sending", ""), ("account", contact_id))
    )
    control(world, scope, target, "pause", process)


def stop(world: World, contact_id: str, process: Process) -> None:
    control(world, "account", contact_id, "stop", process)


def resume(world: World, _contact_id: str, process: Process) -> None:
    for scope, target in (("all", "*"), ("playbook", RELEASE.name), ("sending", "")):
        control(world, scope, target, "resume", process)


def control(world: World, scope: Any, target: str, action: Any, process: Process | None) -> None:
    world.ledger.releases.control(scope, target, action, reason=action, by="Grace", now=world.scheduler.now())
    commit = world.commit_of(process)
    if action == "resume":
        world.stops.lift(scope, target, commit)
    else:
        world.stops.add(scope, target, f"{scope} {action}", commit)


def release(world: World, _contact_id: str, process: Process) -> None:
    """A person who saw the list of what is stuck orders one of them again."""
    stuck = [row["send_id"] for row in world.ledger.read("stuck_sends") if row["status"] == "held"]
    if stuck:
        one = world.chance.choice(stuck)
        world.released[one] += world.ledger.sends.release(
            [one], by="Grace", reason="asked them", now=world.scheduler.now()
        )


#: One of them is picked at a time; those that stop everybody for good are rare.
ORDERS = (
    unsubscribe, unsubscribe, import_list, forget, reach_goal, leave, move,
    pause, pause, stop, resume, resume, resume, release, release,
)  # fmt: skip
