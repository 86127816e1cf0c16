from __future__ import annotations

import json
import logging
import random
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest

from uptake.adapters.ledger import SqlLedger, open_ledger
from uptake.adapters.sendgrid import SEND_ID_ARG, SendGridMailer
from uptake.adapters.tokens import RecipientLinks, Tokens
from uptake.domain.eligibility import Reason
from uptake.domain.playbooks import Release
from uptake.domain.sends import SuppressionReason
from uptake.errors import (
    AcceptanceUnknown,
    MailerUnavailable,
    MessageRefused,
    PlaybookError,
    SendingForbidden,
    SnapshotError,
    UnexpectedAnswer,
)
from uptake.operations.send import SendResult, send_due
from uptake.ports import (
    Advance,
    Approved,
    Check,
    Claimed,
    Entry,
    Keys,
    MailBatch,
    Plan,
    Rendered,
    Snapshot,
)
from uptake.testing import FixedClock

NOW = datetime(2026, 3, 3, 9, tzinfo=UTC)
KEYS = Keys(pseudonym=b"k" * 32, tokens=(b"t" * 32,))
LINKS = RecipientLinks(Tokens(KEYS.tokens), "https://mail.acme.example")
COUNT = 25
LAYOUT = (
    "<mjml><mj-body><mj-section><mj-column><mj-text>[[body]]</mj-text>"
    '<mj-text><a href="[[unsubscribe_url]]">Stop</a> [[postal_address]]</mj-text></mj-column></mj-section></mj-body>'
    "</mjml>"
)
RELEASE = Release.model_validate(
    {
        "name": "activate",
        "playbook": {
            "teaches": "boards",
            "topic": "training",
            "audience": {"where": "account.plan == 'team'"},
            "goal": {"within": "28d"},
            "holdout": "10%",
            "stages": {"why": {"email": "why.md"}},
        },
        "workspace": {
            "sender": {"name": "Ada", "address": "ada@acme.example"},
            "postal_address": "Acme, 1 Road, 12345 Town",
            "topics": {"training": 7},
            "caps": {"person": {"mails": 2, "per": "7d"}, "account": {"mails": 900, "per": "7d"}},
            "window": {"start": "00:00", "end": "23:00"},
            "consent": {"default_basis": "contract"},
        },
        "texts": {"why": {"subject": "About boards", "body": "Hi {{ contact.given_name }}"}},
        "layout": LAYOUT,
    }
)


# --- a world in which COUNT mails are planned ---------------------------------------------------------------


@pytest.fixture(scope="session")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a ledger with COUNT planned mails: made once, copied for each test."""
    path = tmp_path_factory.mktemp("planned") / "ledger.sqlite3"
    ledger = open_ledger(f"sqlite:///{path}", KEYS)
    fill(ledger)
    ledger.close()
    return path


def fill(ledger: SqlLedger) -> None:
    names = [f"c{number:03}" for number in range(COUNT)]
    people = {
        "contact_id": names,
        "account_id": names,
        "address": [f"{name}@customer.example" for name in names],
        "given_name": [name.title() for name in names],
        "full_name": [name.title() for name in names],
        **{column: ["x"] * COUNT for column in ("role", "time_zone", "locale")},
    }
    table = pa.table(
        {**{name: pa.array(column, pa.string()) for name, column in people.items()}}
        | {"consent_basis": pa.nulls(COUNT, pa.string()), "consent_at": pa.nulls(COUNT, pa.timestamp("us"))}
    )
    ledger.people.load(table, now=NOW)
    check = Check(name="c", status="passed", severity="critical")
    gate_id = ledger.gates.record(snapshot_id="s1", status="passed", checks=[check], reasons=[], as_of=NOW, now=NOW)
    version_id = ledger.releases.save_version(RELEASE, git_sha="abc", now=NOW)
    plan = Plan(
        plan_id="p1",
        playbook=RELEASE.name,
        version_id=version_id,
        release_hash=RELEASE.release_hash,
        plan_hash="h",
        snapshot_id="s1",
        planned_at=NOW,
        count_accounts=COUNT,
        count_contacts=COUNT,
        summary={},
    )
    ledger.releases.save_plan(plan)
    ledger.releases.approve(plan, by="Grace", now=NOW, expires_at=NOW + timedelta(days=90), tolerance=0.25)
    approved: Approved = ledger.releases.approved()[0]
    contacts = pa.Table.from_pylist(
        [
            {
                "account_id": name,
                "contact_id": name,
                "contact_rank": 1,
                "feature_key": "boards",
                "entry_no": 1,
                "arm": "treatment",
                "u": 0.5,
                "stratum": "team",
            }
            for name in names
        ]
    )
    ledger.enrollments.enter(
        Entry(contacts=contacts, left_out=pa.table({})), approved, snapshot_id="s1", gate_id=gate_id, now=NOW
    )
    run = ledger.runs.begin("tick", owner="test", now=NOW, lease=timedelta(minutes=5))
    assert run is not None
    entered = ledger.enrollments.tables(now=NOW)["enrollment_contacts"].sort_by("contact_id").to_pylist()
    verdicts = [
        {
            "enrollment_id": row["enrollment_id"],
            "contact_id": row["contact_id"],
            "stage_key": "why",
            "verdict": "send",
            "reason": None,
            "detail": "",
            "version_id": version_id,
            "feature_key": "boards",
            "due_at": NOW.replace(tzinfo=None),
            "window_ends_at": None,
        }
        for row in entered
    ]
    kinds = {
        "enrollment_id": pa.int64(),
        "version_id": pa.int64(),
        "due_at": pa.timestamp("us"),
        "window_ends_at": pa.timestamp("us"),
    }
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in verdicts[0]])
    ending = pa.schema([("enrollment_id", pa.int64()), ("contact_id", pa.string()), ("reason", pa.string())])
    ledger.enrollments.record(
        Advance(
            endings=ending.empty_table(),
            account_endings=ending.remove(1).empty_table(),
            verdicts=pa.Table.from_pylist(verdicts, schema=schema),
        ),
        releases={version_id: RELEASE},
        snapshot_id="s1",
        gate_id=gate_id,
        git_sha="abc",
        run=run,
        now=NOW,
    )


class World:
    """A copy of the planned ledger, and what a worker needs beside it."""

    def __init__(self, planned: Path, folder: Path) -> None:
        self.path = folder / f"ledger-{random.getrandbits(64):x}.sqlite3"
        shutil.copy(planned, self.path)
        self.ledger = open_ledger(f"sqlite:///{self.path}", KEYS)
        self.clock = FixedClock(NOW)
        self.as_of = NOW

    def open(self, snapshot_id: str) -> Snapshot:
        if snapshot_id != "s1":
            raise SnapshotError(f"no snapshot {snapshot_id}")
        return Snapshot(snapshot_id="s1", as_of=self.as_of, directory=self.path.parent, manifest={})

    def values(self, snapshot: Snapshot, release: Release, claimed: Sequence[Claimed]) -> dict[str, Any]:
        return {
            send.send_id: {
                "account": {"account_id": send.account_id},
                "contact": {"given_name": send.given_name},
                "feature": {"name": None},
            }
            for send in claimed
        }

    def send(self, mailer: Any, *, fields: Any = None, owner: str = "w1", **options: Any) -> SendResult:
        return send_due(self.ledger, mailer, fields or self, LINKS, self, clock=self.clock, owner=owner, **options)

    def rows(self) -> list[sqlite3.Row]:
        with sqlite3.connect(self.path) as connection:
            connection.row_factory = sqlite3.Row
            return connection.execute("select * from sends order by send_key").fetchall()

    def statuses(self) -> Counter[str]:
        return Counter(row["status"] for row in self.rows())

    def lock(self, action: str = "resume", scope: str = "sending", target: str = "") -> None:
        self.ledger.releases.control(scope, target, action, reason="a person said so", by="Grace", now=self.clock.now())


@pytest.fixture
def world(planned: Path, tmp_path: Path) -> Iterator[World]:
    world = World(planned, tmp_path)
    yield world
    world.ledger.close()


Answer = Callable[[tuple[str, ...]], str | None]


def fine(send_ids: tuple[str, ...]) -> str | None:
    return "message-id"


def fails(error: Exception) -> Answer:
    def answer(send_ids: tuple[str, ...]) -> str | None:
        raise error

    return answer


class ScriptedMailer:
    """Answers request after request as it was told, then `always`."""

    seconds_to_wait = 0.0

    def __init__(self, *answers: Answer, always: Answer = fine, sandbox: bool = False) -> None:
        self._answers = list(answers)
        self._always = always
        self.sandbox = sandbox
        self.requests: list[tuple[str, ...]] = []
        self.refuse: dict[str, Reason] = {}
        self.before_post: Callable[[], None] = lambda: None
        self.after_render: Callable[[], None] = lambda: None

    def render(self, batch: MailBatch) -> Rendered:
        refused = {r.send_id: reason for r in batch.recipients if (reason := self.refuse.get(r.contact_id))}
        send_ids = tuple(r.send_id for r in batch.recipients if r.send_id not in refused)
        self.after_render()
        return Rendered(body=b"x", body_hash=",".join(send_ids)[:60], send_ids=send_ids, refused=refused)

    def post(self, rendered: Rendered) -> str | None:
        self.before_post()
        self.requests.append(rendered.send_ids)
        return (self._answers.pop(0) if self._answers else self._always)(rendered.send_ids)

    @property
    def sizes(self) -> list[int]:
        return [len(request) for request in self.requests]


# --- what goes well -----------------------------------------------------------------------------------------


def test_everything_planned_is_sent_once_starting_slowly(world):
    mailer = ScriptedMailer()
    result = world.send(mailer)
    assert mailer.sizes == [1, 10, 14]
    assert (result.accepted, result.requests, result.stopped) == (COUNT, 3, None)
    assert world.statuses() == {"accepted": COUNT}
    assert {row["message_id"] for row in world.rows()} == {"message-id"}
    assert {row["attempt"] for row in world.rows()} == {1}


def test_a_second_run_sends_nothing(world):
    world.send(ScriptedMailer())
    mailer = ScriptedMailer()
    assert world.send(mailer).requests == 0
    assert mailer.requests == []


def test_the_batch_size_is_a_ceiling(world):
    mailer = ScriptedMailer()
    world.send(mailer, batch_size=4)
    assert mailer.sizes == [1, *[4] * 6]


def test_intent_is_committed_before_a_byte_leaves(world):
    seen = []
    mailer = ScriptedMailer()
    mailer.before_post = lambda: seen.append(world.statuses()["sending"])
    world.send(mailer)
    assert seen == [1, 10, 14]
    assert all(row["body_hash"] for row in world.rows())


def test_a_sandboxed_answer_is_no_acceptance(world):
    result = world.send(ScriptedMailer(sandbox=True))
    assert (result.sandboxed, result.accepted) == (COUNT, 0)
    assert world.statuses() == {"sandboxed": COUNT}


def test_nothing_but_counts_and_ids_is_logged(world, caplog):
    caplog.set_level(logging.DEBUG)
    world.send(ScriptedMailer(fails(MessageRefused("bad", recipient=0)), fails(AcceptanceUnknown("lost"))))
    assert "accepted" in caplog.text
    assert "customer.example" not in caplog.text
    assert "C001" not in caplog.text


# --- what does not ------------------------------------------------------------------------------------------


def test_unknown_is_never_sent_again_and_the_pace_falls_to_one(world):
    mailer = ScriptedMailer(fine, fine, fails(AcceptanceUnknown("read time-out")))
    result = world.send(mailer)
    assert mailer.sizes == [1, 10, 14]
    assert (result.accepted, result.unknown) == (11, 14)
    again = ScriptedMailer()
    assert world.send(again).requests == 0
    assert world.statuses() == {"accepted": 11, "unknown": 14}


def test_after_an_unknown_the_pace_is_slow_again(world):
    mailer = ScriptedMailer(fine, fails(AcceptanceUnknown("x")))
    world.send(mailer)
    assert mailer.sizes == [1, 10, 1, 10, 3]


def test_five_in_a_row_without_an_answer_stop_the_run(world):
    result = world.send(ScriptedMailer(always=fails(AcceptanceUnknown("x"))))
    assert (result.requests, result.unknown) == (5, 5)
    assert "5 requests in a row" in result.stopped
    assert world.statuses() == {"unknown": 5, "planned": COUNT - 5}


def test_an_answer_sendgrid_does_not_give_stops_the_run_at_once(world):
    result = world.send(ScriptedMailer(always=fails(UnexpectedAnswer("302"))))
    assert (result.requests, result.unknown, result.stopped) == (1, 1, "302")


def test_an_unreachable_service_gets_everything_back(world):
    result = world.send(ScriptedMailer(fine, fails(MailerUnavailable("no connection"))))
    assert (result.requests, result.accepted, result.stopped) == (2, 1, "no connection")
    assert world.statuses() == {"accepted": 1, "planned": COUNT - 1}
    assert world.send(ScriptedMailer()).accepted == COUNT - 1  # nothing stands in the way of the next run


def test_a_rate_limit_pauses_every_worker_until_its_reset(world):
    result = world.send(ScriptedMailer(fine, fails(MailerUnavailable("429", retry_after=90))))
    assert (result.requests, result.put_back) == (2, 10)
    other = ScriptedMailer()
    assert "paused until 2026-03-03 09:01:30" in world.send(other, owner="w2").stopped
    assert other.requests == []
    world.clock.moment = NOW + timedelta(seconds=90)
    assert world.send(ScriptedMailer(), owner="w2").accepted == COUNT - 1


def test_a_limit_that_is_used_up_pauses_every_worker_before_anything_is_refused(world):
    mailer = ScriptedMailer()
    mailer.seconds_to_wait = 90.0
    result = world.send(mailer)
    assert (result.requests, result.accepted) == (1, 1)
    assert "before its limit is reset" in result.stopped
    assert world.statuses() == {"accepted": 1, "planned": COUNT - 1}
    other = ScriptedMailer()
    assert "paused until 2026-03-03 09:01:30" in world.send(other, owner="w2").stopped
    world.clock.moment = NOW + timedelta(seconds=90)
    assert world.send(ScriptedMailer(), owner="w2").accepted == COUNT - 1


def test_a_refused_key_locks_sending_until_a_person_resumes(world):
    result = world.send(ScriptedMailer(fine, fails(SendingForbidden("401: Maximum credits exceeded"))))
    assert "Maximum credits exceeded" in result.stopped
    assert world.statuses() == {"accepted": 1, "planned": COUNT - 1}
    world.clock.moment = NOW + timedelta(minutes=50)
    blocked = ScriptedMailer()
    assert "sending is locked" in world.send(blocked).stopped
    assert blocked.requests == []
    world.lock("resume")
    assert world.send(ScriptedMailer()).accepted == COUNT - 1


def test_what_was_decided_an_hour_ago_is_not_sent_but_decided_again(world):
    # Its window may have closed and its caps filled since: five hours later it can be the middle of the night.
    world.send(ScriptedMailer(fine, fails(SendingForbidden("401: Maximum credits exceeded"))))
    world.clock.moment = NOW + timedelta(hours=5)
    world.lock("resume")
    mailer = ScriptedMailer()
    assert world.send(mailer).accepted == 0
    assert mailer.requests == []
    assert world.statuses() == {"accepted": 1, "withheld": COUNT - 1}
    tables = world.ledger.enrollments.tables(now=world.clock.moment)
    assert tables["stage_ends"].num_rows == 1  # only the one that left: the others' stage goes on


def test_a_named_address_is_taken_out_and_the_others_are_sent(world):
    mailer = ScriptedMailer(fine, fails(MessageRefused("no valid address", recipient=3)))
    result = world.send(mailer)
    assert (result.accepted, result.failed, result.invalid) == (COUNT - 1, 1, 1)
    bad = mailer.requests[1][3]
    row = next(row for row in world.rows() if row["send_id"] == bad)
    assert (row["status"], row["detail"]) == ("failed", "invalid address: no valid address")
    stopped = world.ledger.enrollments.tables(now=NOW)["suppressions"].to_pylist()
    assert [row["address_hash"] for row in stopped] == [world.ledger.people.address_hash_of(row["contact_id"])]
    assert not any(bad in request for request in mailer.requests[2:])


def test_too_many_bad_addresses_stop_the_run(world):
    result = world.send(ScriptedMailer(fine, always=fails(MessageRefused("no valid address", recipient=0))))
    assert (result.invalid, result.accepted) == (6, 1)
    assert "the list needs a look" in result.stopped
    assert world.statuses()["planned"] == COUNT - 7


@pytest.mark.parametrize("position", [0, 1, 7, 12, 24])
def test_an_unnamed_cause_is_found_by_halves(world, position):
    bad = world.rows()[position]["send_id"]

    def refuse(send_ids: tuple[str, ...]) -> str | None:
        if bad in send_ids:
            raise MessageRefused("Bad Request")
        return None

    mailer = ScriptedMailer(always=refuse)
    result = world.send(mailer)
    assert (result.accepted, result.failed, result.stopped) == (COUNT - 1, 1, None)
    assert world.rows()[position]["status"] == "failed"
    assert len(mailer.requests) <= 14
    assert world.ledger.releases.controls().playbooks == {}


def test_what_fails_alike_three_times_pauses_the_playbook(world):
    result = world.send(ScriptedMailer(always=fails(MessageRefused("content is required"))))
    assert result.failed == 3
    assert world.ledger.releases.controls().playbooks == {"activate": "pause"}
    assert world.statuses() == {"failed": 3, "planned": COUNT - 3}


def test_a_text_that_cannot_be_compiled_pauses_its_playbook_and_fails_nobody(world):
    mailer = ScriptedMailer()
    mailer.after_render = lambda: (_ for _ in ()).throw(PlaybookError("stage why: line 3"))
    result = world.send(mailer)
    assert result.requests == 0
    assert world.ledger.releases.controls().playbooks == {"activate": "pause"}
    assert world.statuses() == {"planned": COUNT}


def test_who_cannot_be_rendered_is_withheld_with_the_reason(world):
    mailer = ScriptedMailer()
    mailer.refuse = {"c003": Reason.VALUE_MISSING, "c004": Reason.VALUE_MISSING}
    result = world.send(mailer)
    assert result.withheld == {Reason.VALUE_MISSING: 2}
    assert world.statuses() == {"accepted": COUNT - 2, "withheld": 2}
    assert [row["reason"] for row in world.rows() if row["status"] == "withheld"] == ["value_missing"] * 2


def test_who_is_gone_from_the_snapshot_is_withheld(world):
    class WithoutOne:
        def values(self, *args: Any) -> dict[str, Any]:
            values = world.values(*args)
            return {send_id: row for send_id, row in values.items() if row["account"]["account_id"] != "c005"}

    result = world.send(ScriptedMailer(), fields=WithoutOne())
    assert result.withheld == {Reason.LEFT: 1}
    assert world.statuses() == {"accepted": COUNT - 1, "withheld": 1}


# --- what may not be sent any more --------------------------------------------------------------------------


def test_an_unsubscribe_between_render_and_intent_stops_the_mail(world):
    mailer = ScriptedMailer()

    def unsubscribe() -> None:
        address_hash = world.ledger.people.address_hash_of("c000")
        world.ledger.people.suppress(
            address_hash, reason=SuppressionReason.UNSUBSCRIBED, topic="training", source="one_click", now=NOW
        )

    mailer.after_render = unsubscribe
    result = world.send(mailer)
    first = world.rows()[0]
    assert (first["contact_id"], first["status"], first["reason"]) == ("c000", "withheld", "suppressed")
    assert result.withheld == {Reason.SUPPRESSED: 1}
    assert not any(first["send_id"] in request for request in mailer.requests)
    assert world.statuses()["accepted"] == COUNT - 1


@pytest.mark.parametrize(("scope", "target"), [("all", ""), ("playbook", "activate"), ("sending", "")])
def test_a_pause_keeps_everything_planned(world, scope, target):
    world.lock("pause", scope, target)
    mailer = ScriptedMailer()
    world.send(mailer)
    assert mailer.requests == []
    assert world.statuses() == {"planned": COUNT}
    world.lock("resume", scope, target)
    assert world.send(ScriptedMailer()).accepted == COUNT


def test_a_pause_in_the_middle_stops_the_next_request(world):
    mailer = ScriptedMailer(fine, lambda send_ids: world.lock("pause", "all"))
    result = world.send(mailer)
    assert mailer.sizes == [1, 10]
    assert "everything is paused" in result.stopped
    assert world.statuses() == {"accepted": 11, "planned": 14}


def test_a_pause_between_render_and_intent_sends_nothing(world):
    mailer = ScriptedMailer()
    mailer.after_render = lambda: world.lock("pause", "playbook", "activate")
    result = world.send(mailer)
    assert mailer.requests == []
    assert result.put_back == 1
    assert world.statuses() == {"planned": COUNT}


def test_without_a_passed_gate_nothing_is_sent(world):
    world.ledger.gates.record(snapshot_id="s1", status="held", checks=[], reasons=["late"], as_of=NOW, now=NOW)
    mailer = ScriptedMailer()
    result = world.send(mailer)
    assert mailer.requests == []
    assert result.withheld == {Reason.GATE_HELD: COUNT}


def test_what_was_decided_on_an_old_snapshot_is_not_sent(world):
    world.as_of = NOW - timedelta(hours=37)
    mailer = ScriptedMailer()
    assert world.send(mailer).withheld == {Reason.GATE_HELD: COUNT}
    assert mailer.requests == []


# --- workers that die, or sleep -----------------------------------------------------------------------------


class Killed(BaseException):
    """kill -9, as far as one process can play it."""


def test_a_worker_killed_after_the_intent_leaves_unknown_behind(world):
    with pytest.raises(Killed):
        world.send(ScriptedMailer(fine, fails(Killed())))
    assert world.statuses() == {"accepted": 1, "sending": 10, "planned": 14}
    other = ScriptedMailer()
    assert world.send(other, owner="w2").accepted == 14  # what may have left is not touched
    world.clock.moment = NOW + timedelta(minutes=3)
    result = world.send(other, owner="w2")
    assert (result.expired, result.requests) == (10, 0)
    assert world.statuses() == {"accepted": 15, "unknown": 10}


def test_a_worker_killed_before_the_intent_loses_nothing(world):
    mailer = ScriptedMailer()
    mailer.after_render = lambda: (_ for _ in ()).throw(Killed())
    with pytest.raises(Killed):
        world.send(mailer)
    assert world.statuses() == {"claimed": 1, "planned": COUNT - 1}
    world.clock.moment = NOW + timedelta(minutes=6)
    assert world.send(ScriptedMailer(), owner="w2").accepted == COUNT


def test_a_worker_that_slept_past_its_lease_sends_nothing_of_it(world):
    mailer = ScriptedMailer()
    awake = []

    def sleep() -> None:
        if not awake:
            awake.append(True)
            world.clock.moment = NOW + timedelta(minutes=6)
            assert world.send(ScriptedMailer(), owner="w2").accepted == COUNT

    mailer.after_render = sleep
    world.send(mailer)
    assert mailer.requests == []
    assert world.statuses() == {"accepted": COUNT}


def test_a_worker_that_slept_after_its_intent_does_not_send_late(world):
    class Sleepy(FixedClock):
        calls = 0

        def now(self) -> datetime:
            if world.statuses()["sending"]:
                self.moment = NOW + timedelta(minutes=10)
            return self.moment

    world.clock = Sleepy(NOW)
    mailer = ScriptedMailer()
    result = world.send(mailer)
    assert mailer.requests == []
    assert "halted" in result.stopped
    assert world.statuses() == {"planned": COUNT}, "it knows that nothing has left"


def test_a_late_failure_does_not_free_what_another_worker_holds(world):
    def sleep_then_fail(send_ids: tuple[str, ...]) -> str | None:
        world.clock.moment = NOW + timedelta(minutes=5)
        world.ledger.sends.expire(now=world.clock.moment)
        world.ledger.sends.release(send_ids, by="Grace", reason="log shows nothing", now=world.clock.moment)
        taken = world.ledger.sends.claim(owner="w2", limit=1, now=world.clock.moment, lease=timedelta(minutes=5))
        assert [send.send_id for send in taken] == list(send_ids)
        world.ledger.sends.intend(
            send_ids, owner="w2", body_hash="b", now=world.clock.moment, deadline=NOW + timedelta(hours=1)
        )
        raise MailerUnavailable("no connection after all")

    world.send(ScriptedMailer(sleep_then_fail))
    first = world.rows()[0]
    assert (first["status"], first["owner"]) == ("sending", "w2")


# --- against a service that fails in every way --------------------------------------------------------------


class FaultyService:
    """SendGrid with one fault a request: what it took is the truth."""

    def __init__(self, faults: Sequence[str], bad: frozenset[int]) -> None:
        self._faults = list(faults)
        self._bad = {f"c{number:03}@customer.example" for number in bad}
        self.accepted: Counter[str] = Counter()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        fault = self._faults.pop(0) if self._faults else "fine"
        people = json.loads(request.content)["personalizations"]
        if fault in ("connect", "pool"):
            raise {"connect": httpx.ConnectError, "pool": httpx.PoolTimeout}[fault]("x")
        if fault == "lost before":
            raise httpx.ReadTimeout("x")
        if fault.isdecimal():
            return httpx.Response(int(fault), headers={"Retry-After": "1"})
        for position, person in enumerate(people):
            if person["to"][0]["email"] in self._bad:
                named = {"message": "bad", "field": f"personalizations.{position}.to"}
                return httpx.Response(400, json={"errors": [named] if position % 2 else [{"message": "Bad Request"}]})
        for person in people:
            self.accepted[person["custom_args"][SEND_ID_ARG]] += 1
        if fault == "lost after":
            raise httpx.RemoteProtocolError("x")
        return httpx.Response(500) if fault == "500 after" else httpx.Response(202, headers={"X-Message-Id": "m"})


FAULTS = ["fine", "connect", "pool", "lost before", "lost after", "500 after", "429", "400", "401", "403", "413"]
FAULTS += ["500", "503", "302", "201"]


@pytest.mark.parametrize("seed", range(6))
def test_nothing_is_sent_twice_and_nothing_is_lost_whatever_fails(planned, tmp_path, seed):
    chance = random.Random(seed)
    faults = [*FAULTS, *["fine"] * 5]  # every kind, in another order each time
    chance.shuffle(faults)
    bad = frozenset(chance.sample(range(COUNT), seed % 4))
    world = World(planned, tmp_path)
    service = FaultyService(faults, bad)
    mailer = SendGridMailer(
        "https://api.sendgrid.com", "SG.x", transport=httpx.MockTransport(service), clock=world.clock
    )
    for round_ in range(60):
        result = world.send(mailer, owner=f"w{round_}")
        if result.stopped is None and not world.statuses()["planned"]:
            break
        world.clock.moment += timedelta(minutes=2)
        world.lock("resume")
        world.lock("resume", "playbook", "activate")
    rows = world.rows()
    world.ledger.close()
    assert max(service.accepted.values(), default=0) <= 1
    for row in rows:
        was_taken = service.accepted[row["send_id"]] == 1
        assert row["status"] in ("accepted", "unknown", "failed"), dict(row)
        if row["status"] == "accepted":
            assert was_taken
        if row["status"] == "failed":
            assert not was_taken
            assert row["detail"]
