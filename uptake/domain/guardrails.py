"""What stops a playbook whoever approved it: an audience that is not what it was, or mail that does harm."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import Literal

from uptake.domain.workspace import RateLimit

Harm = Literal["complaints", "bounces", "unsubscribes", "refusals"]
HARMS: tuple[Harm, ...] = ("complaints", "bounces", "unsubscribes", "refusals")

FEW = 10  # accounts: a small audience changes by as many on any day


def audience_held(before: int | None, now: int, *, limit: float) -> str | None:
    """Return why an audience of `now` accounts takes nobody in, after one of `before`; None when it may.

    `limit` is the share of `before` by which it may fall or rise. Without an audience before there is nothing to
    compare with.
    """
    if before is None or abs(now - before) <= max(FEW, before * limit):
        return None
    direction = "fell" if now < before else "rose"
    return (
        f"its audience {direction} from {before} to {now} accounts, expected a change of at most {limit:.0%};"
        " look at why, then plan and approve it again"
    )


FEW_HARMS = 3  # two may be chance, of however few mails
_Z = NormalDist().inv_cdf(0.95)
MANY_MAILS = 100  # to one mailbox domain: with fewer it is a customer's mail server, not a provider that judges senders


@dataclass(frozen=True, kw_only=True)
class MailCounts:
    """What became of the mails of one playbook to one mailbox domain; `harms` counts mails, each once per harm."""

    mailbox_domain: str  # "" where the address is no longer known
    mails: int
    harms: Mapping[Harm, int]


@dataclass(frozen=True, kw_only=True)
class HarmFound:
    """One rate above its limit, in words."""

    is_stop: bool
    told: str


def harm_found(counts: Iterable[MailCounts], limits: Mapping[Harm, RateLimit]) -> list[HarmFound]:
    """Return every rate that is above its limit, over all mailbox domains and in each large one; the worst first.

    A rate counts from `FEW_HARMS` mails on, that of one mailbox domain from `MANY_MAILS` sent there. Complaints stop
    as soon as they are counted above the limit, because mailbox providers count them the same way; other harm when
    chance would hardly show so much at the limit.
    """
    counts = list(counts)
    whole = MailCounts(
        mailbox_domain="",
        mails=sum(one.mails for one in counts),
        harms={harm: sum(one.harms.get(harm, 0) for one in counts) for harm in HARMS},
    )
    large = (one for one in counts if one.mailbox_domain and one.mails >= MANY_MAILS)
    found = [
        HarmFound(is_stop=is_stop, told=_told(harm, one, limit.stop if is_stop else limit.warn))
        for one in (whole, *sorted(large, key=lambda one: (-one.mails, one.mailbox_domain)))
        for harm, limit in limits.items()
        if (count := one.harms.get(harm, 0)) >= FEW_HARMS and count > limit.warn * one.mails
        for is_stop in [(count / one.mails if harm == "complaints" else _at_least(count, one.mails)) > limit.stop]
    ]
    return sorted(found, key=lambda one: not one.is_stop)


def _at_least(count: int, mails: int) -> float:
    """Return the share that is behind a count with 95 % confidence (Wilson's interval, its lower end, one-sided)."""
    share, square = count / mails, _Z**2
    middle = share + square / (2 * mails)
    spread = _Z * sqrt(share * (1 - share) / mails + square / (4 * mails**2))
    return (middle - spread) / (1 + square / mails)


def _told(harm: Harm, counts: MailCounts, limit: float) -> str:
    at = f" at {counts.mailbox_domain}" if counts.mailbox_domain else ""
    count = counts.harms[harm]
    return f"{count} {harm}{at} of {counts.mails} mails ({count / counts.mails:.2%}), expected at most {limit:.2%}"
