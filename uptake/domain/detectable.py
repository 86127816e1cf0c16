"""How small a difference between two arms could still be told from chance."""

from __future__ import annotations

import math
from statistics import NormalDist

ALPHA, POWER = 0.05, 0.8
#: Where shares vary most: whoever does not know how many reach the goal by themselves reckons with this.
WORST_RATE = 0.5
#: No programme of mails ever changed as much: who needs that sees nothing.
HOPELESS = 0.25


def detectable_lift(
    treated: int, held_out: int, *, rate: float = WORST_RATE, alpha: float = ALPHA, power: float = POWER
) -> float | None:
    """Return the smallest lift of a goal rate, as a share, that these arms show with this power; None without an arm.

    (z(1 - alpha/2) + z(power)) * sqrt(rate (1 - rate) (1/treated + 1/held_out)): the two-sided z test of two shares
    with one variance for both, Fleiss, Levin and Paik, *Statistical Methods for Rates and Proportions*, 3rd ed., ch. 4.

    Args:
        treated: Accounts that get the stages.
        held_out: Accounts that get nothing.
        rate: Share of accounts that reach the goal by themselves, 0-1.
        alpha: Share of false alarms.
        power: Chance of seeing a lift of that size.
    """
    if not treated or not held_out:
        return None
    quantile = NormalDist().inv_cdf
    return (quantile(1 - alpha / 2) + quantile(power)) * math.sqrt(rate * (1 - rate) * (1 / treated + 1 / held_out))
