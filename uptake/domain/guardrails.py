"""What stops a playbook from taking people in, whoever approved it: an audience that is not what it was."""

from __future__ import annotations

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
