"""The planted truth: what the mails really did, because the simulator can live the same days again without them.

For every treated account, did it reach the goal in the world with the accept log, and would it have reached it in the
world with an empty one? The difference of the two shares is what an honest lift should find. Written apart from the
marts on purpose: two ways to the same number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from uptake.sandbox.base import HISTORY_DAYS, CustomerBase
from uptake.sandbox.chance import Bools
from uptake.sandbox.files import AcceptedMail
from uptake.sandbox.usage import Usage

_WINDOW = 28  # days over which use counts as adoption


@dataclass(frozen=True, kw_only=True)
class Enrollment:
    """One enrollment of the ledger, as far as the truth needs it."""

    playbook: str
    account_id: str
    arm: str
    enrolled_at: datetime
    window_ends_at: datetime
    features: frozenset[str]  # taught, or in a holdout account meant to be taught, to any of its contacts


@dataclass(frozen=True, kw_only=True)
class PlantedLift:
    """What the mails of one playbook did to its treated accounts."""

    playbook: str
    count_accounts: int  # treated, window closed
    goal_share: float  # in the world with the mails
    goal_share_without: float  # had nobody been mailed

    @property
    def lift_abs(self) -> float:
        """The true effect, as a difference of shares."""
        return self.goal_share - self.goal_share_without


class Truth:
    """Goals by account in a world with given mails, counted day by day."""

    def __init__(self, base: CustomerBase, usage: Usage, mails: Sequence[AcceptedMail]) -> None:
        self._base = base
        self._usage = usage
        self._lessons = usage.lessons(mails)
        self._days: dict[tuple[int, int | None], Bools] = {}
        self._account = {account_id: number for number, account_id in enumerate(base.account_ids)}
        self._feature = {feature.key: number for number, feature in enumerate(base.features)}

    def reached(self, enrollment: Enrollment) -> bool:
        """Say whether the account adopts a taught feature on a day of its window.

        Adopted = used by anyone of the account on at least `adopted_days` distinct days of the last 28.
        The first day that counts is the day of entry, whole; the last one counts until the window ends.
        """
        first = self._base.day_of(enrollment.enrolled_at.date())
        last = self._base.day_of(enrollment.window_ends_at.date())
        begin = max(first - _WINDOW + 1, -HISTORY_DAYS)
        account = self._account[enrollment.account_id]
        places = [self._feature[key] for key in sorted(enrollment.features) if key in self._feature]
        if not places:
            return False
        seconds = enrollment.window_ends_at.hour * 3_600 + enrollment.window_ends_at.minute * 60
        days = [self._used(day)[account, places] for day in range(begin, last)]
        used = np.stack([*days, self._used(last, seconds + enrollment.window_ends_at.second)[account, places]])
        needed = np.array([self._base.features[place].adopted_days for place in places])
        for day in range(first, last + 1):
            recent = used[max(day - _WINDOW + 1 - begin, 0) : day - begin + 1]
            if (recent.sum(axis=0) >= needed).any():
                return True
        return False

    def _used(self, day: int, until: int | None = None) -> Bools:
        """Return which account used which feature on a day, by anyone; `until` = up to this second of it."""
        if (day, until) not in self._days:
            used = np.zeros((len(self._base.accounts), len(self._base.features)), dtype=np.bool_)
            if until is None:
                by_person = self._usage.uses(day, self._lessons)
            else:
                by_person = self._usage.uses_until(day, self._lessons, until)
            who, what = np.nonzero(by_person)
            used[self._base.contacts.account[who], what] = True
            self._days[day, until] = used
        return self._days[day, until]


def planted_lifts(
    base: CustomerBase,
    usage: Usage,
    mails: Sequence[AcceptedMail],
    enrollments: Iterable[Enrollment],
    *,
    until: datetime,
) -> dict[str, PlantedLift]:
    """Return the true effect of each playbook on its treated accounts whose window closed by `until`."""
    here, without = Truth(base, usage, mails), Truth(base, usage, ())
    outcomes: dict[str, list[tuple[bool, bool]]] = {}
    for one in enrollments:
        if one.arm == "treatment" and one.window_ends_at <= until:
            outcomes.setdefault(one.playbook, []).append((here.reached(one), without.reached(one)))
    return {
        playbook: PlantedLift(
            playbook=playbook,
            count_accounts=len(pairs),
            goal_share=sum(with_mails for with_mails, _ in pairs) / len(pairs),
            goal_share_without=sum(alone for _, alone in pairs) / len(pairs),
        )
        for playbook, pairs in sorted(outcomes.items())
    }
