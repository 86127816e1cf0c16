"""Which arm an account is in: a draw from (salt, account id) alone, so that anybody can recompute it."""

from __future__ import annotations

import hashlib
from enum import StrEnum

GLOBAL_CONTROL_SALT = "global-control"
_DIGITS = 15  # hex digits of the digest: 60 bits, exact in a signed 64-bit integer of every warehouse
_SCALE = 2.0 ** (4 * _DIGITS)


class Arm(StrEnum):
    """What an account is drawn to."""

    TREATMENT = "treatment"  #: gets the stages
    HOLDOUT = "holdout"  #: gets nothing from this playbook, so that its lift can be measured
    GLOBAL_CONTROL = "global_control"  #: gets nothing from any playbook; left out of a playbook's own lift


def draw(salt: str, account_id: str) -> float:
    """Return the account's place in [0, 1) for this salt.

    The same number as `('0x' || substr(sha256(salt || ':' || account_id), 1, 15))::bigint / 16^15` in SQL.
    """
    digest = hashlib.sha256(f"{salt}:{account_id}".encode()).hexdigest()
    return int(digest[:_DIGITS], 16) / _SCALE


def arm_of(account_id: str, *, salt: str, holdout: float, global_control: float) -> Arm:
    """Return the arm of an account, the same one on every run and machine.

    Args:
        account_id: The account drawn.
        salt: The playbook's name.
        holdout: Share of accounts held out of this playbook, 0-1. A larger share only moves accounts into it.
        global_control: Share of accounts that no playbook mails, 0-1.
    """
    if draw(GLOBAL_CONTROL_SALT, account_id) < global_control:
        return Arm.GLOBAL_CONTROL
    return Arm.HOLDOUT if draw(salt, account_id) < holdout else Arm.TREATMENT
