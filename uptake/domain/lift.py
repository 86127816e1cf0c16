"""What a playbook changed, and how sure we may be: results and verdicts, from sums over accounts.

The arithmetic of estimates is tea-tasting's (`uptake.adapters.lift_tea_tasting`); here is what they mean.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

#: Below this many accounts with a closed window in either arm, no interval is worth reading.
LEAST_ACCOUNTS = 10
#: Share of all false alarms spent on looking early; the rest is kept for the one final read.
EARLY_ALPHA, FINAL_ALPHA = 0.01, 0.04
#: A sample ratio this unlikely says that the arms are not what was drawn.
SRM_ALPHA = 0.001


@dataclass(frozen=True, kw_only=True)
class ArmMean:
    """One arm: how many units, and the mean of their outcome."""

    arm: str
    n: int
    mean: float


@dataclass(frozen=True, kw_only=True)
class ArmLift(ArmMean):
    """One arm against the control: absolute lift with its 95 % interval, in units of the outcome.

    `lift_rel` is relative to the control's mean, NaN where that is zero.
    """

    lift_abs: float
    lift_rel: float
    ci_lower: float
    ci_upper: float
    se: float
    pvalue: float


@dataclass(frozen=True, kw_only=True)
class SampleRatio:
    """Are the arms as large as they were drawn? `pvalue` of a chi-square test."""

    pvalue: float

    @property
    def alarm(self) -> bool:
        """Whether the arms cannot be what was drawn: then no verdict holds."""
        return self.pvalue < SRM_ALPHA


@dataclass(frozen=True, kw_only=True)
class Lift:
    """The whole answer for one outcome."""

    arms: tuple[ArmLift, ...]
    control: ArmMean
    srm: SampleRatio
    warnings: tuple[str, ...] = ()


class Verdict(StrEnum):
    """What may be said; nothing else is said."""

    TOO_EARLY = "too early to say"
    HELPS = "helps"
    HARMS = "harms"
    NOT_YET_PROVED = "not yet proved"
    INVALID = "arms out of balance"  #: the sample ratio alarm: the data are shown, the verdict is withheld


def always_valid_halfwidth(se: float, n: int, *, alpha: float = EARLY_ALPHA, n_opt: int) -> float:
    """Return the half-width of an asymptotic confidence sequence, valid however often one looks.

    Args:
        se: Standard error of the estimate at `n` units.
        n: Units in both arms.
        alpha: Chance of ever being wrong.
        n_opt: The number of units at which it is tightest; half the planned units is a good choice.

    Source: Waudby-Smith et al., arXiv 2103.06476, equation 9, with rho chosen for `n_opt` as GrowthBook does.
    """
    rho2 = (-2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)) / n_opt
    scaled = n * rho2 + 1
    return se * math.sqrt(n) * math.sqrt(2 * scaled * math.log(math.sqrt(scaled) / alpha)) / (n * math.sqrt(rho2))


def verdict(lift: Lift, *, planned: int, final: bool) -> Verdict:
    """Return what may be said about the first treated arm.

    Args:
        lift: Estimates over accounts whose window is closed.
        planned: Accounts enrolled in all, closed or not.
        final: No window is open any more: the one final read, at the share of alpha kept for it.
    """
    if lift.srm.alarm:
        return Verdict.INVALID
    if not lift.arms or min(lift.control.n, lift.arms[0].n) < LEAST_ACCOUNTS:
        return Verdict.TOO_EARLY
    arm = lift.arms[0]
    if final:
        sure = arm.pvalue < FINAL_ALPHA
    else:
        n = lift.control.n + arm.n
        sure = abs(arm.lift_abs) > always_valid_halfwidth(arm.se, n, n_opt=max(planned // 2, 1))
    if sure:
        return Verdict.HELPS if arm.lift_abs > 0 else Verdict.HARMS
    return Verdict.NOT_YET_PROVED if final else Verdict.TOO_EARLY
