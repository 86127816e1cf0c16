"""The ways through a playbook: which stage follows which, and how a bounded loop is written out.

Every way leads forward in the file. A loop is a part of the file that is walked several times: it is written out as
copies with keys of their own, because no stage of an enrollment is ever sent twice to one contact.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uptake.domain.playbooks import Stage

END = "end"  # `next: end` leaves the playbook

#: Where a way leads (None: to the end) and the condition that opens it (None: none).
Way = tuple[str | None, str | None]


class Misplaced(ValueError):
    """A mistake at a place further inside than where it was found."""

    def __init__(self, message: str, *location: str | int) -> None:
        super().__init__(message)
        self.location = location


def ways(stages: Mapping[str, Stage], key: str) -> list[Way]:
    """Return the ways out of a stage in the order in which they are tried; the last one is always open.

    Where no way is open the next stage of the file follows.
    """
    found: list[Way] = []
    for way in stages[key].next:
        found.append((None if way.to == END else way.to, way.when))
        if way.when is None:
            return found
    order = list(stages)
    place = order.index(key) + 1
    return [*found, (order[place] if place < len(order) else None, None)]


def next_stage(
    stages: Mapping[str, Stage],
    ended: Collection[str],
    known: Mapping[str, float],
    holds: Callable[[str], bool | None],
) -> str | None:
    """Return the stage a contact stands before; None when no stage is left.

    The stages of the definition are forward-only, so the ended stage that comes last in it says where a contact is. A
    stage put in before that one is therefore never sent, and no ended stage comes twice. After a removed stage its
    next surviving one follows, whatever ways it had.

    Args:
        stages: The definition that counts, loops written out.
        ended: Keys of the stages that are over for this contact, in whatever order.
        known: What `places` says; an ended key it does not know holds nobody back.
        holds: What a condition says of this contact; unknown opens no way.
    """
    last = max((known[key] for key in ended if key in known), default=-1.0)
    at = next((key for key in stages if known[key] == last), None)
    if at is None:
        return next((key for key in stages if known[key] > last), None)
    return next(to for to, when in ways(stages, at) if when is None or holds(when) is True)


def earliest(
    stages: Mapping[str, Stage], arrive: Callable[[timedelta, Stage], timedelta], *, first: str | None = None
) -> dict[str, timedelta]:
    """Return when each stage can end at the earliest, counted from entry; a stage no way leads to is absent.

    With `first`, counted from when the stage before that one ended.

    `arrive`: the end of the stage before and a stage -> the end of that stage, if every condition is true at once.
    """
    ends: dict[str, timedelta] = {}
    starts: dict[str, timedelta] = {first or next(iter(stages)): timedelta(0)}
    for key, stage in stages.items():
        if key not in starts:
            continue
        ends[key] = arrive(starts[key], stage)
        for to, _ in ways(stages, key):
            if to is not None:
                starts[to] = min(ends[key], starts.get(to, ends[key]))
    return ends


def longest(stages: Mapping[str, Stage]) -> timedelta:
    """Return how long the longest way takes when every stage waits as long as it may; people doing tasks aside."""
    left: dict[str | None, timedelta] = {None: timedelta(0)}
    for key, stage in reversed(list(stages.items())):
        left[key] = stage.after + (stage.wait_for or timedelta(0)) + max(left[to] for to, _ in ways(stages, key))
    return left[next(iter(stages))]


def write_out(stages: Mapping[str, Stage]) -> dict[str, Stage]:
    """Return the stages with every loop written out. Raises Misplaced for a way that leads nowhere or has no bound."""
    _check(stages)
    found = dict(stages)
    for key, stage in stages.items():
        if any(way.times for way in stage.next):
            found = _unrolled(found, key)
    return found


def _check(stages: Mapping[str, Stage]) -> None:
    order = list(stages)
    if END in stages:
        raise Misplaced(f"no stage may be called `{END}`: `next: {END}` leaves the playbook", END)
    loops: list[tuple[int, int]] = []
    for key, stage in stages.items():
        for place, way in enumerate(stage.next):
            where: list[str | int] = [key, "next", *([place] if len(stage.next) > 1 else [])]
            if way.to not in (*order, END):
                alike = get_close_matches(way.to, [*order, END], n=1)
                hint = f"; did you mean `{alike[0]}`?" if alike else f"; expected one of {', '.join([*order, END])}"
                raise Misplaced(f"unknown stage `{way.to}`{hint}", *where)
            is_back = way.to != END and order.index(way.to) <= order.index(key)
            if is_back and way.times is None:
                bound = f"write {{to: {way.to}, times: 3}}"
                raise Misplaced(f"leads back to `{way.to}` without a bound; {bound}, the first time included", *where)
            if way.times is not None and not is_back:
                raise Misplaced(f"`times` bounds a way back, and `{way.to}` comes later", *where)
            if is_back:
                loops.append((order.index(way.to), order.index(key)))
                if any(start <= loops[-1][1] and loops[-1][0] <= end for start, end in loops[:-1]):
                    raise Misplaced("this loop overlaps another one; write one of them out", *where)
            if way.when is None and place + 1 < len(stage.next):
                raise Misplaced("nothing after this way is ever tried, because it has no `when`", *where)


def _unrolled(stages: dict[str, Stage], last: str) -> dict[str, Stage]:
    """Write out the loop that leads back from the stage `last`."""
    order = list(stages)
    back = next(way for way in stages[last].next if way.times)
    times = back.times or 1
    block = order[order.index(back.to) : order.index(last) + 1]
    after = order[order.index(last) + 1 :]
    onward = after[0] if after else END
    found = {key: stages[key] for key in order[: order.index(back.to)]}
    for count in range(1, times + 1):
        for key in block:
            if (copy := _copy(key, count)) in stages and count > 1:
                raise Misplaced(f"`{copy}` is what the loop calls its copy of `{key}`; name this stage otherwise", copy)
            next_ways = []
            for way in stages[key].next:
                if way is back:
                    if count < times:
                        next_ways.append(way.model_copy(update={"to": _copy(back.to, count + 1), "times": None}))
                else:
                    to = _copy(way.to, count) if way.to in block else way.to
                    next_ways.append(way.model_copy(update={"to": to}))
            if key == last and count < times and all(way.when is not None for way in next_ways):
                next_ways.append(back.model_copy(update={"to": onward, "when": None, "times": None}))
            found[copy] = stages[key].model_copy(update={"next": tuple(next_ways)})
    return found | {key: stages[key] for key in after}


def _copy(key: str, count: int) -> str:
    return key if count == 1 else f"{key}-{count}"
