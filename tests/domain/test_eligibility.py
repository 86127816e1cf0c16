from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uptake.domain.eligibility import (
    AccountFacts,
    ContactFacts,
    Contender,
    LeftOut,
    Reason,
    StageFacts,
    TaskContender,
    Verdict,
    account_left_out,
    choice_order,
    contact_ending,
    contact_left_out,
    effect_of,
    enrollment_ending,
    settle,
    settle_tasks,
    stage_verdict,
)
from uptake.domain.playbooks import Playbook
from uptake.domain.workspace import Exclusions

NOW = datetime(2026, 3, 3, 9, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def playbook(**changes):
    plain = {
        "teaches": "dashboards",
        "topic": "training",
        "audience": {"where": "True"},
        "goal": {"within": "28d"},
        "holdout": "10%",
        "stages": {"why": {"email": "why.md"}},
        "backfill": "all",
    }
    return Playbook.model_validate(plain | changes)


GOOD = AccountFacts(churned=False, is_internal=False, count_open_tickets=0, age_days=100)
NO_RULES = Exclusions(churned=False, internal=False, open_ticket=False, younger_than=timedelta(0))


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_one_effect(reason):
    retry = {"outside_window", "capped_person", "capped_account", "priority_lost", "paused", "waiting", "gate_held"}
    pass_over = {"condition_false", "value_missing", "too_late", "stage_goal_reached", "duplicate_task"}
    expected = Verdict.RETRY if reason in retry else Verdict.PASS_OVER if reason in pass_over else Verdict.END
    assert effect_of(reason) is expected


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (GOOD, None),
        (replace(GOOD, churned=True, is_internal=True), LeftOut.CHURNED),
        (replace(GOOD, is_internal=True), LeftOut.INTERNAL),
        (replace(GOOD, count_open_tickets=1), LeftOut.OPEN_TICKET),
        (replace(GOOD, age_days=13), LeftOut.TOO_NEW),
        (replace(GOOD, age_days=14), None),
        (replace(GOOD, churned=None), LeftOut.VALUE_MISSING),
        (replace(GOOD, is_internal=None), LeftOut.VALUE_MISSING),
        (replace(GOOD, count_open_tickets=None), LeftOut.VALUE_MISSING),
        (replace(GOOD, age_days=None), LeftOut.VALUE_MISSING),
        (replace(GOOD, churned=None, age_days=3), LeftOut.TOO_NEW),
        (replace(GOOD, is_paused=True, is_in=True), LeftOut.PAUSED),
        (replace(GOOD, is_in=True, entries=1), LeftOut.IN_ALREADY),
        (replace(GOOD, entries=1, last_ended_at=NOW - 900 * DAY), LeftOut.RE_ENTRY),
    ],
)
def test_an_account_is_left_out_for_the_first_reason(facts, expected):
    assert account_left_out(facts, Exclusions(), playbook(), NOW) == expected


def test_an_exclusion_that_is_not_asked_for_excludes_nobody():
    unknown = AccountFacts(churned=None, is_internal=True, count_open_tickets=4, age_days=None)
    assert account_left_out(unknown, NO_RULES, playbook(), NOW) is None


@pytest.mark.parametrize(
    ("entries", "ended", "expected"),
    [
        (0, None, None),
        (1, NOW - 180 * DAY, None),
        (1, NOW - 179 * DAY, LeftOut.RE_ENTRY),
        (2, NOW - 500 * DAY, LeftOut.RE_ENTRY),
        (1, None, None),
    ],
)
def test_an_account_enters_again_after_a_while_and_not_too_often(entries, ended, expected):
    rules = playbook(re_entry={"after": "180d", "max": 2})
    facts = replace(GOOD, entries=entries, last_ended_at=ended)
    assert account_left_out(facts, Exclusions(), rules, NOW) == expected
    assert account_left_out(facts, Exclusions(), rules, NOW, by_hand=True) is None  # a person answers for when


def test_only_those_enter_who_match_newly_unless_the_playbook_takes_in_everybody():
    before, old = replace(GOOD, is_launched=False), replace(GOOD, matched_before_launch=True)
    outside = LeftOut.MATCHED_BEFORE_LAUNCH
    for facts in (before, old):
        assert account_left_out(facts, Exclusions(), playbook(backfill="none"), NOW) == outside
        assert account_left_out(facts, Exclusions(), playbook(backfill="none"), NOW, by_hand=True) is None
        assert account_left_out(facts, Exclusions(), playbook(), NOW) is None
        assert account_left_out(facts, Exclusions(), playbook(enter="calendar", calendar=[NOW.date()]), NOW) is None
    assert account_left_out(GOOD, Exclusions(), playbook(backfill="none"), NOW) is None
    assert account_left_out(replace(old, churned=True), Exclusions(), playbook(backfill="none"), NOW) == LeftOut.CHURNED


@pytest.mark.parametrize(
    ("entered", "expected"),
    [(NOW - 2 * DAY, None), (NOW - timedelta(hours=1), LeftOut.RE_ENTRY), (None, None)],
)
def test_a_calendar_takes_an_account_in_once_for_each_of_its_days(entered, expected):
    rules = playbook(enter="calendar", calendar=[NOW.date(), NOW.date() + 30 * DAY])
    facts = replace(GOOD, entries=1, last_enrolled_at=entered, last_ended_at=NOW)
    assert account_left_out(facts, Exclusions(), rules, NOW) == expected
    assert account_left_out(facts, Exclusions(), rules, NOW + 5 * DAY) == LeftOut.RE_ENTRY  # it is closed by then


@pytest.mark.parametrize(
    ("facts", "left_out", "ending"),
    [
        (ContactFacts(), None, None),
        (ContactFacts(has_feature=False), LeftOut.NOTHING_TO_TEACH, None),
        (ContactFacts(goal_reached=True, erased=True), LeftOut.GOAL_REACHED, Reason.GOAL_REACHED),
        (ContactFacts(exits=True, erased=True), LeftOut.ERASED, Reason.EXIT_CONDITION),
        (ContactFacts(erased=True, has_address=False, suppressed=True), LeftOut.ERASED, Reason.ERASED),
        (ContactFacts(has_address=False, suppressed=True), LeftOut.NO_ADDRESS, Reason.SUPPRESSED),
        (ContactFacts(suppressed=True, consented=False), LeftOut.SUPPRESSED, Reason.SUPPRESSED),
        (ContactFacts(consented=False), LeftOut.UNCONSENTED, Reason.UNCONSENTED),
        (ContactFacts(consented=False, answered=True), LeftOut.UNCONSENTED, Reason.UNCONSENTED),
        (ContactFacts(answered=True, shares_address_with_holdout=True), LeftOut.ANSWERED, Reason.ANSWERED),
        (ContactFacts(has_address=False, answered=True), LeftOut.NO_ADDRESS, Reason.LEFT),
        (ContactFacts(has_address=False), LeftOut.NO_ADDRESS, Reason.LEFT),
        (ContactFacts(in_snapshot=False), None, Reason.LEFT),
        (ContactFacts(shares_address_with_holdout=True), LeftOut.HOLDOUT_ADDRESS, Reason.HOLDOUT_ADDRESS),
    ],
)
def test_a_contact_stays_out_or_leaves_for_the_first_reason(facts, left_out, ending):
    assert contact_left_out(facts) == left_out
    assert contact_ending(facts) == ending


def test_contacts_are_chosen_by_role_then_activity_then_id():
    people = [("c", None, 28), ("b", "member", 5), ("a", "member", 5), ("e", "admin", None), ("d", "admin", 3)]
    chosen = sorted(people, key=lambda one: choice_order(*one, prefer=["admin", "owner"]))
    assert [contact for contact, _, _ in chosen] == ["d", "e", "c", "a", "b"]


@pytest.mark.parametrize(
    ("contacts", "done", "options", "expected"),
    [
        ([None, None], [False, True], {}, None),
        ([None, None], [True, True], {}, Reason.COMPLETED),
        ([], [], {}, Reason.COMPLETED),
        ([Reason.SUPPRESSED, None], [False, True], {}, Reason.COMPLETED),
        ([Reason.SUPPRESSED, Reason.SUPPRESSED], [False, False], {}, Reason.SUPPRESSED),
        ([Reason.SUPPRESSED, Reason.LEFT], [False, False], {}, Reason.COMPLETED),
        ([None], [False], {"stopped": True, "at_goal": True}, Reason.STOPPED),
        ([None], [False], {"at_goal": True, "controls_complete": True}, Reason.GOAL_REACHED),
        ([None], [False], {"controls_complete": True}, Reason.COMPLETED),
    ],
)
def test_an_enrollment_ends_with_its_last_contact_or_as_a_whole(contacts, done, options, expected):
    assert enrollment_ending(contacts, done=done, **options) == expected


DUE = StageFacts(due_at=NOW)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (DUE, (Verdict.SEND, None)),
        (replace(DUE, is_task=True, in_window=False), (Verdict.TASK, None)),
        (replace(DUE, due_at=NOW - 7 * DAY), (Verdict.SEND, None)),
        (
            replace(DUE, due_at=NOW - 7 * DAY - timedelta(microseconds=1), paused=True),
            (Verdict.PASS_OVER, Reason.TOO_LATE),
        ),
        (replace(DUE, when=False, paused=True), (Verdict.PASS_OVER, Reason.CONDITION_FALSE)),
        (replace(DUE, when=None), (Verdict.PASS_OVER, Reason.VALUE_MISSING)),
        (replace(DUE, paused=True, gate_held=True), (Verdict.RETRY, Reason.PAUSED)),
        (replace(DUE, when=False, gate_held=True), (Verdict.RETRY, Reason.GATE_HELD)),
        (replace(DUE, when=None, gate_held=True, is_task=True), (Verdict.RETRY, Reason.GATE_HELD)),
        (replace(DUE, in_window=False), (Verdict.RETRY, Reason.OUTSIDE_WINDOW)),
    ],
)
def test_a_stage_gets_the_first_verdict_that_applies(facts, expected):
    assert stage_verdict(facts, NOW) == expected


def mail(priority, contact, address, account="acme", person_room=1, account_room=9):
    return Contender(
        rank=(priority, "p", 0.0, contact, 1),
        address_hash=address,
        account_id=account,
        person_room=person_room,
        account_room=account_room,
    )


def test_one_mail_per_address_the_lowest_rank_wins():
    assert settle([mail(2, "a", "x"), mail(1, "b", "x"), mail(3, "c", "y")]) == [Reason.PRIORITY_LOST, None, None]


def test_who_has_just_been_mailed_waits_for_the_next_tick():
    just = replace(mail(1, "a", "x"), just_mailed=True)
    assert settle([just, mail(2, "b", "y")]) == [Reason.PRIORITY_LOST, None]


def test_a_winner_without_room_does_not_pass_its_turn_on():
    assert settle([mail(1, "a", "x", person_room=0), mail(2, "b", "x")]) == [Reason.CAPPED_PERSON, Reason.PRIORITY_LOST]


def test_an_account_takes_its_room_in_rank_order():
    mails = [mail(3, "a", "x", account_room=1), mail(1, "b", "y", account_room=1), mail(2, "c", "z", person_room=0)]
    assert settle(mails) == [Reason.CAPPED_ACCOUNT, None, Reason.CAPPED_PERSON]


CONTENDERS = st.lists(
    st.builds(
        mail,
        st.integers(1, 3),
        st.uuids().map(str),
        st.sampled_from("xyz"),
        st.sampled_from("ab"),
        st.integers(-1, 2),
        st.integers(-1, 3),
    ),
    max_size=12,
)


@given(CONTENDERS, st.randoms())
def test_caps_hold_and_the_order_of_rows_is_irrelevant(mails, random):
    verdicts = settle(mails)
    leaving = [mail for mail, verdict in zip(mails, verdicts, strict=True) if verdict is None]
    assert len({mail.address_hash for mail in leaving}) == len(leaving)
    assert all(mail.person_room >= 1 for mail in leaving)
    for one in leaving:
        assert (
            sum(other.account_id == one.account_id and other.rank <= one.rank for other in leaving) <= one.account_room
        )
    shuffled = random.sample(range(len(mails)), len(mails))
    assert settle([mails[i] for i in shuffled]) == [verdicts[i] for i in shuffled]


def task(enrollment_id, *, priority=100, playbook="p", stage_key="call", account_id="acme", dedupe_key="help"):
    rank = (priority, playbook, 0.0, enrollment_id)
    return TaskContender(rank=rank, account_id=account_id, dedupe_key=dedupe_key, stage_key=stage_key)


def test_an_account_has_one_task_of_a_kind_and_the_better_stage_opens_it():
    duplicate = Reason.DUPLICATE_TASK
    assert settle_tasks([task(1), task(2, priority=50)], {}) == [duplicate, None]
    assert settle_tasks([task(1), task(1)], {}) == [None, None]  # two contacts at the same task
    assert settle_tasks([task(1), task(1, stage_key="visit")], {}) == [None, duplicate]
    assert settle_tasks([task(1), task(2, account_id="rival"), task(3, dedupe_key="other")], {}) == [None] * 3


def test_a_task_that_is_open_already_keeps_its_place():
    held = {("acme", "help"): (7, "call")}
    assert settle_tasks([task(1), task(7)], held) == [Reason.DUPLICATE_TASK, None]


def test_a_stage_waits_for_its_condition_but_not_longer_than_it_says():
    waiting = {"due_at": NOW, "wait_until": None, "wait_for": timedelta(days=9)}
    at = lambda days, **facts: stage_verdict(StageFacts(**waiting | facts), NOW + timedelta(days=days))  # noqa: E731
    assert at(0) == (Verdict.RETRY, Reason.WAITING)
    assert at(1, wait_until=True) == (Verdict.SEND, None)
    assert at(8, wait_until=False, when=False) == (Verdict.RETRY, Reason.WAITING)  # `when` is asked when it is over
    assert at(9) == (Verdict.SEND, None)
    assert at(16) == (Verdict.SEND, None)
    assert at(17) == (Verdict.PASS_OVER, Reason.TOO_LATE)
    assert at(1, gate_held=True) == (Verdict.RETRY, Reason.GATE_HELD)


def test_a_stage_whose_own_goal_is_reached_is_passed_over():
    assert stage_verdict(StageFacts(due_at=NOW, goal_reached=True), NOW) == (
        Verdict.PASS_OVER,
        Reason.STAGE_GOAL_REACHED,
    )
    held = StageFacts(due_at=NOW, goal_reached=True, gate_held=True)
    assert stage_verdict(held, NOW) == (Verdict.RETRY, Reason.GATE_HELD)
