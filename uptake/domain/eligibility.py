"""Send now, later, or never: the verdict on one contact at one stage, with its reason.

Every reason not to send has exactly one effect, so that nobody waits for ever and nobody is mailed by surprise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from uptake.domain.enrollments import LATEST
from uptake.domain.playbooks import Playbook
from uptake.domain.workspace import Exclusions


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
    WAITING = "waiting"  #: the stage's `wait_until` is not true yet
    GATE_HELD = "gate_held"  #: no passed gate row for this snapshot, or the snapshot is stale
    # pass over
    CONDITION_FALSE = "condition_false"  #: the stage's `when` is not true
    VALUE_MISSING = "value_missing"  #: the stage's `when` is unknown, or a merge field has neither value nor default
    TOO_LATE = "too_late"  #: due more than seven days ago
    STAGE_GOAL_REACHED = "stage_goal_reached"  #: what this one stage is for has been reached
    DUPLICATE_TASK = "duplicate_task"  #: a task with the same dedupe key is open for this account
    # end
    GOAL_REACHED = "goal_reached"
    EXIT_CONDITION = "exit_condition"
    ERASED = "erased"
    SUPPRESSED = "suppressed"  #: bounced, complained or unsubscribed
    UNCONSENTED = "unconsented"  #: no basis to mail this person
    LEFT = "left"  #: no longer in the snapshot, or without an address
    HOLDOUT_ADDRESS = "holdout_address"  #: the address also belongs to a contact of a holdout account
    STOPPED = "stopped"  #: a person stopped the playbook or took the account out
    ANSWERED = "answered"  #: the recipient said that they need no lesson on the feature
    COMPLETED = "completed"  #: no stage is left


_EFFECTS: dict[Reason, Verdict] = {
    **dict.fromkeys(
        (
            Reason.OUTSIDE_WINDOW,
            Reason.CAPPED_PERSON,
            Reason.CAPPED_ACCOUNT,
            Reason.PRIORITY_LOST,
            Reason.PAUSED,
            Reason.WAITING,
            Reason.GATE_HELD,
        ),
        Verdict.RETRY,
    ),
    **dict.fromkeys(
        (
            Reason.CONDITION_FALSE,
            Reason.VALUE_MISSING,
            Reason.TOO_LATE,
            Reason.STAGE_GOAL_REACHED,
            Reason.DUPLICATE_TASK,
        ),
        Verdict.PASS_OVER,
    ),
}


def effect_of(reason: Reason) -> Verdict:
    """Return the one effect of a reason."""
    return _EFFECTS.get(reason, Verdict.END)


class LeftOut(StrEnum):
    """Why a matching account or contact does not enter."""

    # the account
    CHURNED = "churned"
    INTERNAL = "internal"
    OPEN_TICKET = "open_ticket"
    TOO_NEW = "too_new"
    VALUE_MISSING = "value_missing"  #: an exclusion of the workspace cannot be decided: unknown is not "no"
    MATCHED_BEFORE_LAUNCH = "matched_before_launch"  #: only newly matching accounts enter, without `backfill: all`
    PAUSED = "paused"  #: a person paused or stopped the account
    IN_ALREADY = "in_already"  #: an open enrollment of this playbook
    RE_ENTRY = "re_entry"  #: entered before, and may not (yet) enter again
    # the contact
    NOTHING_TO_TEACH = "nothing_to_teach"  #: next_best found no feature, or the plan lacks the feature
    GOAL_REACHED = "goal_reached"  #: it would end before its first stage
    ERASED = "erased"
    NO_ADDRESS = "no_address"
    SUPPRESSED = "suppressed"
    UNCONSENTED = "unconsented"
    ANSWERED = "answered"  #: said on the preference page that they need no lesson on the feature
    HOLDOUT_ADDRESS = "holdout_address"
    NOT_CHOSEN = "not_chosen"  #: beyond max_per_account


@dataclass(frozen=True, kw_only=True)
class AccountFacts:
    """What decides whether a matching account may enter; None = unknown."""

    churned: bool | None
    is_internal: bool | None
    count_open_tickets: int | None
    age_days: int | None
    is_paused: bool = False  # a person paused or stopped the account
    is_in: bool = False  # an enrollment of this playbook is open
    entries: int = 0  # enrollments of this playbook so far
    last_ended_at: datetime | None = None
    last_enrolled_at: datetime | None = None
    is_launched: bool = True  # the playbook was approved before
    matched_before_launch: bool = False  # it would have entered when the playbook was first approved


def account_left_out(
    facts: AccountFacts, exclusions: Exclusions, playbook: Playbook, now: datetime, *, by_hand: bool = False
) -> LeftOut | None:
    """Return why the account does not enter, the first reason of `LeftOut`'s order; None when it may.

    A person who takes it in (`by_hand`) answers for when; what excludes an account excludes it from that, too.
    """
    tickets, age = facts.count_open_tickets, facts.age_days
    excluded: tuple[tuple[LeftOut, bool, bool | None], ...] = (
        (LeftOut.CHURNED, exclusions.churned, facts.churned),
        (LeftOut.INTERNAL, exclusions.internal, facts.is_internal),
        (LeftOut.OPEN_TICKET, exclusions.open_ticket, None if tickets is None else tickets > 0),
        (
            LeftOut.TOO_NEW,
            exclusions.younger_than > timedelta(0),
            None if age is None else timedelta(days=age) < exclusions.younger_than,
        ),
    )
    for reason, is_asked, is_so in excluded:
        if is_asked and is_so:
            return reason
    if any(is_asked and is_so is None for _, is_asked, is_so in excluded):
        return LeftOut.VALUE_MISSING
    if playbook.only_new and not by_hand and (facts.matched_before_launch or not facts.is_launched):
        return LeftOut.MATCHED_BEFORE_LAUNCH
    if facts.is_paused:
        return LeftOut.PAUSED
    if facts.is_in:
        return LeftOut.IN_ALREADY
    if facts.entries and not by_hand and not _may_re_enter(facts, playbook, now):
        return LeftOut.RE_ENTRY
    return None


def _may_re_enter(facts: AccountFacts, playbook: Playbook, now: datetime) -> bool:
    """Without a rule an account enters once, ever; by a calendar, once for each of its days."""
    if playbook.enter == "calendar":
        opening = playbook.opens_on(now)
        return opening is not None and (facts.last_enrolled_at is None or facts.last_enrolled_at.date() < opening)
    rule = playbook.re_entry
    if rule is None or facts.entries >= rule.max:
        return False
    return facts.last_ended_at is None or facts.last_ended_at + rule.after <= now


@dataclass(frozen=True, kw_only=True)
class ContactFacts:
    """What decides whether a contact may be taught, the same questions at entry and at every tick."""

    goal_reached: bool = False  # by the account or the contact, as the goal says
    exits: bool = False  # the playbook's `exit_when` is true
    erased: bool = False
    in_snapshot: bool = True
    has_address: bool = True
    suppressed: bool = False  # for every topic, or for the playbook's
    consented: bool = True  # an unexpired consent, or the workspace's default basis
    shares_address_with_holdout: bool = False  # a contact of another account, held out of this playbook, has it too
    answered: bool = False  # that they need no lesson on the feature, and did not take it back
    has_feature: bool = True  # there is a feature to teach, and the account is entitled to it


def contact_left_out(facts: ContactFacts) -> LeftOut | None:
    """Return why a matching contact does not enter, whatever its account's arm; None when it may be chosen."""
    reasons = (
        (LeftOut.NOTHING_TO_TEACH, not facts.has_feature),
        (LeftOut.GOAL_REACHED, facts.goal_reached),
        (LeftOut.ERASED, facts.erased),
        (LeftOut.NO_ADDRESS, not facts.has_address),
        (LeftOut.SUPPRESSED, facts.suppressed),
        (LeftOut.UNCONSENTED, not facts.consented),
        (LeftOut.ANSWERED, facts.answered),
        (LeftOut.HOLDOUT_ADDRESS, facts.shares_address_with_holdout),
    )
    return next((reason for reason, is_so in reasons if is_so), None)


def choice_order(
    contact_id: str, role: str | None, active_days_28: int | None, prefer: Sequence[str]
) -> tuple[int, int, str]:
    """Return the sort key by which an account's contacts are chosen: role, then activity, then id."""
    place = prefer.index(role) if role is not None and role in prefer else len(prefer)
    return place, -(active_days_28 or 0), contact_id


def contact_ending(facts: ContactFacts) -> Reason | None:
    """Return why a contact leaves the journey now; None when it stays."""
    reasons = (
        (Reason.GOAL_REACHED, facts.goal_reached),
        (Reason.EXIT_CONDITION, facts.exits),
        (Reason.ERASED, facts.erased),
        (Reason.SUPPRESSED, facts.suppressed),
        (Reason.UNCONSENTED, not facts.consented),
        (Reason.LEFT, not (facts.in_snapshot and facts.has_address)),
        (Reason.ANSWERED, facts.answered),
        (Reason.HOLDOUT_ADDRESS, facts.shares_address_with_holdout),
    )
    return next((reason for reason, is_so in reasons if is_so), None)


def enrollment_ending(
    contacts: Sequence[Reason | None],
    *,
    done: Sequence[bool],
    stopped: bool = False,
    at_goal: bool = False,
    controls_complete: bool = False,
) -> Reason | None:
    """Return why a whole enrollment ends now; None when it goes on.

    Args:
        contacts: What `contact_ending` says of each contact that is still in.
        done: For each of them, whether no stage is left and no mail is on its way.
        stopped: A person stopped the playbook or the account.
        at_goal: The account reached the goal with a feature taught to one of them.
        controls_complete: It is in a control arm, and a treated one could have had every stage.
    """
    if stopped:
        return Reason.STOPPED
    if at_goal:
        return Reason.GOAL_REACHED
    if all(reason is not None or is_done for reason, is_done in zip(contacts, done, strict=True)):
        reasons = set(contacts)
        shared = reasons.pop() if len(reasons) == 1 else None
        return shared or Reason.COMPLETED
    return Reason.COMPLETED if controls_complete else None


@dataclass(frozen=True, kw_only=True)
class StageFacts:
    """What decides about one contact at a stage that is due."""

    due_at: datetime
    is_task: bool = False
    wait_until: bool | None = True  # what is waited for; True without one
    wait_for: timedelta = timedelta(0)  # how long at most, from when it is due
    goal_reached: bool = False  # what the stage is for
    when: bool | None = True  # the stage's condition; True without one
    paused: bool = False
    gate_held: bool = False
    in_window: bool = True  # the recipient's own clock allows mail now


def stage_verdict(facts: StageFacts, now: datetime) -> tuple[Verdict, Reason | None]:
    """Return what one stage gets, before mails contend for the same address and count against caps.

    While the gate is held no condition is asked: what it says rests on data nobody vouches for, and a pass-over
    cannot be taken back.
    """
    reasons = (
        (Reason.TOO_LATE, now - facts.due_at - facts.wait_for > LATEST),
        (Reason.WAITING, not facts.gate_held and facts.wait_until is not True and now < facts.due_at + facts.wait_for),
        (Reason.STAGE_GOAL_REACHED, not facts.gate_held and facts.goal_reached),
        (Reason.CONDITION_FALSE, not facts.gate_held and facts.when is False),
        (Reason.VALUE_MISSING, not facts.gate_held and facts.when is None),
        (Reason.PAUSED, facts.paused),
        (Reason.GATE_HELD, facts.gate_held),
        (Reason.OUTSIDE_WINDOW, not facts.is_task and not facts.in_window),
    )
    for reason, is_so in reasons:
        if is_so:
            return effect_of(reason), reason
    return (Verdict.TASK if facts.is_task else Verdict.SEND), None


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A mail that could leave in this tick."""

    rank: tuple[int, str, float, str, int]  # priority, playbook, place of the stage, contact, enrollment; lowest wins
    address_hash: str
    account_id: str
    person_room: int  # mails its person may still get under its release's cap, before this tick
    account_room: int
    just_mailed: bool = False  # a mail is about to leave to this address, or left within `BREATHER`


def settle(contenders: Sequence[Contender]) -> list[Reason | None]:
    """Return for each contender why it waits, or None when it leaves: one mail per address, then caps by rank.

    An account's room is taken in rank order by every mail that won its address and fits its person's cap.
    """
    verdicts: list[Reason | None] = [None] * len(contenders)
    taken: set[str] = set()
    in_account: dict[str, int] = {}
    for place in sorted(range(len(contenders)), key=lambda i: contenders[i].rank):
        mail = contenders[place]
        if mail.address_hash in taken or mail.just_mailed:
            verdicts[place] = Reason.PRIORITY_LOST
            continue
        taken.add(mail.address_hash)
        if mail.person_room < 1:
            verdicts[place] = Reason.CAPPED_PERSON
            continue
        in_account[mail.account_id] = in_account.get(mail.account_id, 0) + 1
        if in_account[mail.account_id] > mail.account_room:
            verdicts[place] = Reason.CAPPED_ACCOUNT
    return verdicts


@dataclass(frozen=True, kw_only=True)
class TaskContender:
    """A task that could be opened in this tick, at the turn of one contact."""

    rank: tuple[int, str, float, int]  # priority, playbook, place of the stage, enrollment; lowest wins
    account_id: str
    dedupe_key: str
    stage_key: str

    @property
    def task(self) -> tuple[int, str]:
        """The one task that all contacts of an enrollment share at a stage."""
        return self.rank[3], self.stage_key


def settle_tasks(
    contenders: Sequence[TaskContender], open_tasks: Mapping[tuple[str, str], tuple[int, str]]
) -> list[Reason | None]:
    """Return for each contender why its task is not opened, or None: an account has one of each dedupe key.

    `open_tasks`: (account, dedupe key) -> the enrollment and stage whose task is open, unless that enrollment ends now.
    """
    holds = dict(open_tasks)
    for one in sorted(contenders, key=lambda one: one.rank):
        holds.setdefault((one.account_id, one.dedupe_key), one.task)
    return [None if holds[one.account_id, one.dedupe_key] == one.task else Reason.DUPLICATE_TASK for one in contenders]
