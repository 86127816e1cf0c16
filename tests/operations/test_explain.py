from collections import Counter
from datetime import timedelta

import pytest

from uptake.errors import Refused
from uptake.operations.explain import explain
from uptake.operations.explained import CapUse
from uptake.operations.preview import preview

DAY = timedelta(days=1)


def ask(town, contact_id, now, playbook=None):
    found = explain(town.journeys, town, town.ledger, contact_id=contact_id, now=now, playbook=playbook)
    return found, found.playbooks[0]


def treated(town):
    return town.rows(
        "select contact_id from enrollment_contacts join enrollments using (enrollment_id)"
        " join people using (contact_id) where arm = 'treatment' and time_zone = 'Europe/Berlin' order by 1"
    )[0][0]


class Whole:
    """Ledger and journeys that look at everybody, whomever they are asked about."""

    def __init__(self, of):
        self.of = of

    def __getattr__(self, name):
        return getattr(self.of, name)

    @property
    def enrollments(self):
        return Whole(self.of.enrollments)

    def tables(self, *, now, account_id):
        assert account_id is not None
        return self.of.tables(now=now)

    def near(self, accounts):
        assert accounts
        return self.of


def test_what_is_near_an_account_is_all_that_matters_to_it(town, now):
    town.settle(12, shared_addresses=True, prefix="sharing", seed=5)
    rival = {"priority": 10, "stages": {"first": {"email": "first.md"}, "call": {"task": "Call", "after": "1d"}}}
    town.releases |= {"beta": town.release("beta", holdout=0.3, **rival)}
    town.publish(snapshot_id="shared")
    for name in ("alpha", "beta"):
        town.approve(name)
    town.tick()
    later = now + 3.1 * DAY
    town.send()
    town.publish(later, snapshot_id="later")
    for contact_id in list(town.contacts)[::3]:
        town.ledger.people.answer(contact_id, kind="already_do", feature_key="dashboards", now=later)
    told = set()
    mailboxes = Counter(one["address"] for one in town.contacts.values())
    for contact_id in [key for key, one in town.contacts.items() if mailboxes[one["address"]] > 1][:4]:
        asked = {"contact_id": contact_id, "now": later}
        found = explain(town.journeys, town, town.ledger, **asked)
        assert found == explain(Whole(town.journeys), town, Whole(town.ledger), **asked)
        told |= {one.left_out for one in found.playbooks} | {one.answered for one in found.playbooks}
        stages = [entry.next_stage for one in found.playbooks for entry in one.enrollments if entry.next_stage]
        told |= {(stage.kind, stage.reason) for stage in stages}
    assert len(told) > 2, told


def test_before_entry_each_predicate_is_told_with_the_value_seen(town, now):
    shown = town.entrants(town.approve().plan)
    _, answer = ask(town, shown[0][1], now)
    assert answer.enters
    assert answer.arm == shown[0][2]
    assert (answer.where_holds, answer.left_out, answer.entries_held) == (True, None, None)
    assert [(one.text, dict(one.values), one.holds) for one in answer.where] == [
        ("account.plan == 'team'", {"account.plan": "team"}, True),
        ("feature.adoption_state == 'never'", {"feature.adoption_state": "never"}, True),
    ]


def test_who_does_not_match_and_who_is_left_out_is_told_apart(town, now):
    town.approve()
    account_id, contact = next((one["account_id"], one["contact_id"]) for one in town.contacts.values())
    town.accounts[account_id] |= {"plan": "free", "age_days": 100, "count_open_tickets": 0}
    town.publish(snapshot_id="free")
    _, answer = ask(town, contact, now)
    assert (answer.enters, answer.where_holds, answer.left_out) == (False, False, None)
    town.accounts[account_id] |= {"plan": "team", "count_open_tickets": 1}
    town.publish(snapshot_id="ticket")
    _, answer = ask(town, contact, now)
    assert (answer.enters, answer.where_holds, answer.left_out) == (False, True, "open_ticket")


def test_a_journey_is_told_as_a_tick_would_decide_it(town, now):
    town.approve()
    town.tick()
    contact = treated(town)
    _, answer = ask(town, contact, now)
    stage = answer.enrollments[0].next_stage
    assert (stage.stage_key, stage.waits_for, stage.verdict) == ("why", "planned", None)
    town.send()
    town.publish(now + 3 * DAY, snapshot_id="later")
    before, answer = ask(town, contact, now + 3 * DAY)
    stage = answer.enrollments[0].next_stage
    assert before.last_mail_at == now
    assert answer.person_cap == CapUse(mails=1, at_most=3, per=7 * DAY)
    assert (stage.stage_key, stage.due_at, stage.verdict, stage.when_holds) == ("how", now + 3 * DAY, "send", True)
    assert answer.enrollments[0].ended_stages == (("why", now),)
    assert answer.left_out == "in_already"
    town.tick(now + 3 * DAY)
    assert town.rows("select count(*) from sends where contact_id = ? and stage_key = 'how'", contact) == [(1,)]


def test_what_happened_to_a_contact_is_told_with_its_reasons(town, now):
    town.approve()
    town.tick()
    contact = treated(town)
    town.send()
    night = now + 3 * DAY + timedelta(hours=12)
    town.publish(night, snapshot_id="night")
    town.tick(night)
    assert [
        (one.stage_key, one.what, one.outcome, one.reason)
        for one in ask(town, contact, night)[1].enrollments[0].history
    ] == [("why", "sent", "accepted", None), ("how", "decided", "retry", "outside_window")]
    (account,) = town.rows("select account_id from people where contact_id = ?", contact)[0]
    town.states[account] = "adopted"
    town.publish(night + DAY, snapshot_id="reached")
    town.tick(night + DAY)
    _, answer = ask(town, contact, night + DAY)
    (entry,) = answer.enrollments
    assert (entry.is_contact_in, entry.was_contact_in, entry.next_stage) == (False, True, None)
    assert (entry.history[-1].what, entry.history[-1].reason) == ("left", "goal_reached")


@pytest.mark.parametrize(
    ("calendar", "closed"),
    [
        ([], "no day of its calendar is left"),
        ([9], "the next day of its calendar is "),
        ([0], None),
    ],
)
def test_on_a_day_on_which_its_calendar_is_closed_that_is_told_and_who_would_enter_next(town, now, calendar, closed):
    days = [(now + day * DAY).date() for day in calendar] or [(now - 9 * DAY).date()]
    town.releases["alpha"] = town.release(enter="calendar", calendar=days)
    shown = town.entrants(town.approve(now=now).plan) if calendar else []
    town.approve() if not calendar else None
    contact = shown[0][1] if shown else next(iter(town.contacts))
    _, answer = ask(town, contact, now)
    assert answer.enters is bool(calendar)
    assert answer.closed == (closed if closed is None or not calendar else f"{closed}{days[0]}")


def test_of_a_playbook_that_takes_in_by_hand_it_is_told_who_could_be(town, now):
    town.releases["alpha"] = town.release(enter="manual", holdout=0.0)
    town.approve()
    answers = [ask(town, contact, now)[1] for contact in list(town.contacts)[:12]]
    assert {(one.enter, one.closed) for one in answers} == {
        ("manual", "takes in nobody by itself: people are taken in by hand")
    }
    assert any(one.enters for one in answers)
    assert {one.left_out for one in answers if not one.enters} <= {"open_ticket", "too_new", "not_chosen", None}


def test_an_open_task_is_told_and_is_no_mail(town, now):
    town.releases["alpha"] = town.release(
        stages={"call": {"task": "Call", "within": "2d"}, "why": {"email": "why.md", "after": "1d"}}
    )
    town.approve()
    town.tick()
    contact = treated(town)
    _, answer = ask(town, contact, now)
    stage = answer.enrollments[0].next_stage
    assert (stage.stage_key, stage.waits_for, stage.verdict) == ("call", "task", None)
    later = now + 10 * DAY  # nobody closed it, and a week after its time the journey goes on
    town.publish(later, snapshot_id="later")
    _, answer = ask(town, contact, later)
    stage = answer.enrollments[0].next_stage
    assert answer.enrollments[0].ended_stages == (("call", now + 9 * DAY),)
    assert (stage.stage_key, stage.due_at, stage.waits_for, stage.verdict) == ("why", later, None, "send")
    for task in town.ledger.read("open_tasks"):
        town.ledger.tasks.close(task["task_id"], outcome="done", reason="Spoke", by="Ada", now=later)
    found, _ = ask(town, contact, later)
    assert found.last_mail_at is None


def test_what_is_waited_for_is_told_until_when_and_when_it_could_leave(town, now):
    town.releases["alpha"] = town.release(
        stages={"why": {"email": "why.md", "wait_until": "feature.adoption_state == 'tried'", "for": "4d"}}
    )
    town.approve()
    town.tick()
    stage = ask(town, treated(town), now)[1].enrollments[0].next_stage
    assert (stage.kind, stage.verdict, stage.reason) == ("email", "retry", "waiting")
    assert (stage.wait.holds, stage.wait.until) == (False, now + 4 * DAY)
    assert dict(stage.wait.seen[0].values) == {"feature.adoption_state": "never"}
    assert (stage.zone, stage.earliest_at) == ("Europe/Berlin", now)
    evening = now + timedelta(hours=9)  # 19:00 in Berlin
    assert ask(town, treated(town), evening)[1].enrollments[0].next_stage.earliest_at == now + timedelta(hours=22)


def test_an_open_task_is_told_with_who_does_it_and_when_the_journey_goes_on(town, now):
    town.releases["alpha"] = town.release(stages={"call": {"task": "Call", "within": "2d", "owner": "rep"}})
    town.approve()
    town.tick()
    task = ask(town, treated(town), now)[1].enrollments[0].next_stage.task
    assert (task.title, task.owner, task.due_at, task.lapses_at) == ("Call", "rep", now + 2 * DAY, now + 9 * DAY)


def test_why_nobody_may_enter_is_told_as_a_tick_would(town, now):
    town.settle(40, is_plain=True, prefix="more")
    town.publish(snapshot_id="many")
    town.approve()
    town.tick()
    town.settle(90, is_plain=True, prefix="new")
    town.publish(now + timedelta(hours=1), snapshot_id="crowd")
    held = town.tick(now + timedelta(hours=1)).held["alpha"]
    _, answer = ask(town, "contact-new-0-0", now + timedelta(hours=1))
    assert (answer.enters, answer.entries_held) == (True, held)
    assert answer.at_most < 90
    for row in town.accounts.values():
        row["plan"] = "free"
    town.publish(now + timedelta(hours=2), snapshot_id="none")
    held = town.tick(now + timedelta(hours=2)).held["alpha"]
    _, answer = ask(town, "contact-more-0-0", now + timedelta(hours=2))
    assert (answer.enters, answer.entries_held) == (False, held)
    assert "audience" in held


def test_a_holdout_waits_for_no_stage(town, now):
    town.approve()
    town.tick()
    held = town.rows(
        "select contact_id from enrollment_contacts join enrollments using (enrollment_id) where arm = 'holdout'"
    )[0][0]
    _, answer = ask(town, held, now)
    assert (answer.arm, answer.enrollments[0].next_stage) == ("holdout", None)


def test_a_held_gate_and_a_missing_approval_are_told(town, now):
    shown = town.entrants(town.plan().plan)
    found, answer = ask(town, shown[0][1], now + 2 * DAY, "alpha")
    assert "is stale" in found.gate_held
    assert (answer.approved_by, answer.entries_held) == (None, "no release of it is approved")


def test_what_their_address_has_stopped_is_told_until_it_is_taken_back(town, now):
    town.approve()
    contact, other = list(town.contacts)[:2]
    assert ask(town, contact, now)[0].stops == ()
    people = town.ledger.people
    people.unsubscribe(contact, topic="product-training", source="one_click", now=now - DAY)
    people.unsubscribe(contact, topic=None, source="preference_page", now=now)
    assert [(one.topic, one.reason, one.source, one.suppressed_at) for one in ask(town, contact, now)[0].stops] == [
        ("product-training", "unsubscribed", "one_click", now - DAY),
        ("", "unsubscribed", "preference_page", now),
    ]
    assert ask(town, other, now)[0].stops == ()
    with town.ledger._store.write() as connection:
        connection.exec_driver_sql("update suppressions set lifted_at = '2999-01-01 00:00:00.000000' where topic = ''")
    assert [one.topic for one in ask(town, contact, now)[0].stops] == ["product-training"]


def test_nobody_is_explained_who_is_not_known(town, now):
    town.approve()
    with pytest.raises(Refused, match="nobody knows contact 'ghost'"):
        ask(town, "ghost", now)
    with pytest.raises(Refused, match="no playbook 'other' was ever planned"):
        ask(town, next(iter(town.contacts)), now, "other")
    town.snapshot = None
    with pytest.raises(Refused, match="there is no snapshot yet"):
        ask(town, next(iter(town.contacts)), now)


def show(town, playbooks, now, **options):
    return preview(playbooks, town.journeys, town, town.ledger, name="alpha", now=now, **options)


def test_a_preview_shows_who_would_enter_or_else_anybody(town, playbooks, now):
    shown = {contact_id for _, contact_id, _ in town.entrants(town.plan().plan)}
    found = show(town, playbooks, now, limit=2)
    assert (found.stage_key, len(found.samples)) == ("why", 2)
    assert {sample.contact_id for sample in found.samples} <= shown
    assert found.samples[0].facts["account.plan"] == "team"
    town.releases["alpha"] = town.release(audience={"where": "account.plan == 'nobody'"})
    assert len(show(town, playbooks, now, limit=2, stage_key="how").samples) == 2


def test_a_preview_can_be_of_one_contact(town, playbooks, now):
    contact = sorted(town.contacts)[-1]
    found = show(town, playbooks, now, contact_id=contact)
    assert [(one.contact_id, one.feature_key) for one in found.samples] == [(contact, "dashboards")]
    with pytest.raises(Refused, match="knows no contact 'ghost'"):
        show(town, playbooks, now, contact_id="ghost")
    with pytest.raises(Refused, match="expected one of why, how"):
        show(town, playbooks, now, stage_key="call")


def test_who_asks_by_an_address_is_told_where_ids_are_and_the_address_is_not_repeated(town, now):
    town.approve()
    with pytest.raises(Refused, match="`uptake export EMAIL` shows the contact_id") as refused:
        ask(town, "ann@customer.example", now)
    assert "ann@" not in str(refused.value)
