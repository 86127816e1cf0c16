"""Send now, later, or never: the verdict on one contact at one stage, with its reason.

Every reason not to send has exactly one effect, so that nobody waits for ever and nobody is mailed by surprise.
"""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    """What a tick decides for one contact at one stage."""

    SEND = "send"  #: plan the message
    TASK = "task"  #: open a task for a person
    RETRY = "retry"  #: not now; asked again at the next tick
    PASS_OVER = "pass_over"  #: this stage is over for this contact; the next one counts from here
    END = "end"  #: the contact leaves the playbook


class Reason(StrEnum):
    """Why a stage was not sent, or a journey ended."""

    # retry
    OUTSIDE_WINDOW = "outside_window"  #: quiet hours, a quiet day or a holiday where the recipient lives
    CAPPED_PERSON = "capped_person"  #: too many mails to this address
    CAPPED_ACCOUNT = "capped_account"  #: too many mails into this account
    PRIORITY_LOST = "priority_lost"  #: another stage won this address in this tick
    PAUSED = "paused"  #: everything, the playbook or the account is paused
    GATE_HELD = "gate_held"  #: no passed gate row for this snapshot, or the snapshot is stale
    # pass over
    CONDITION_FALSE = "condition_false"  #: the stage's `when` is not true
    VALUE_MISSING = "value_missing"  #: the stage's `when` is unknown, or a merge field has neither value nor default
    TOO_LATE = "too_late"  #: due more than seven days ago
    # end
    GOAL_REACHED = "goal_reached"
    EXIT_CONDITION = "exit_condition"
    SUPPRESSED = "suppressed"  #: bounced, complained or unsubscribed
    UNCONSENTED = "unconsented"  #: no basis to mail this person
    ERASED = "erased"
    LEFT = "left"  #: no longer in the snapshot, or without an address
    HOLDOUT_ADDRESS = "holdout_address"  #: the address also belongs to a contact of a holdout account
    STOPPED = "stopped"  #: a person stopped the playbook or took the account out
    COMPLETED = "completed"  #: no stage is left


_EFFECTS: dict[Reason, Verdict] = {
    **dict.fromkeys(
        (
            Reason.OUTSIDE_WINDOW,
            Reason.CAPPED_PERSON,
            Reason.CAPPED_ACCOUNT,
            Reason.PRIORITY_LOST,
            Reason.PAUSED,
            Reason.GATE_HELD,
        ),
        Verdict.RETRY,
    ),
    **dict.fromkeys((Reason.CONDITION_FALSE, Reason.VALUE_MISSING, Reason.TOO_LATE), Verdict.PASS_OVER),
}


def effect_of(reason: Reason) -> Verdict:
    """Return the one effect of a reason."""
    return _EFFECTS.get(reason, Verdict.END)


class LeftOut(StrEnum):
    """Why a matching account or contact does not enter."""

    CHURNED = "churned"
    INTERNAL = "internal"
    OPEN_TICKET = "open_ticket"
    TOO_NEW = "too_new"
    IN_ALREADY = "in_already"  #: an open enrollment of this playbook
    RE_ENTRY = "re_entry"  #: entered before, and may not (yet) enter again
    SUPPRESSED = "suppressed"
    UNCONSENTED = "unconsented"
    ERASED = "erased"
    NO_ADDRESS = "no_address"
    NOT_CHOSEN = "not_chosen"  #: beyond max_per_account
    NOTHING_TO_TEACH = "nothing_to_teach"  #: next_best found no feature, or the plan lacks the feature
    HOLDOUT_ADDRESS = "holdout_address"
