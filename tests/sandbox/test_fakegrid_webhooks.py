from __future__ import annotations

import json
import stat
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sendgrid.helpers.eventwebhook import EventWebhook

from uptake.errors import SettingsError
from uptake.sandbox.fakegrid import Disorder, EventPoster, Reaction, webhook_public_key
from uptake.sandbox.fakegrid.accept_log import AcceptLog, posted_path
from uptake.sandbox.fakegrid.webhooks import MAX_BATCH_BYTES
from uptake.testing import FixedClock

WEBHOOK = "http://127.0.0.1:8025/webhooks/sendgrid"
Event = dict[str, Any]


class Receiver:
    """Stands where `web_public` stands: keeps what it acknowledged, refuses on demand."""

    def __init__(self) -> None:
        self.status = 204
        self.events: list[Event] = []
        self.requests: list[httpx.Request] = []
        self.one_clicks: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if self.status == 0:
            raise httpx.ConnectError("refused", request=request)
        if request.url.path.startswith("/u/"):
            assert request.content == b"List-Unsubscribe=One-Click"
            if self.status < 300:
                self.one_clicks.append(request.url.path)
        elif self.status < 300:
            self.events += json.loads(request.content)
        return httpx.Response(self.status)

    @property
    def told(self) -> list[tuple[str, str]]:
        return [(event["event"], event["email"]) for event in self.events]


class Scripted:
    """Recipients who react as they are told, by address."""

    def __init__(self, script: Mapping[str, Iterable[Reaction]]) -> None:
        self.script = script

    def reactions(self, accepted: Mapping[str, Any]) -> Iterable[Reaction]:
        return self.script.get(accepted["to"], [Reaction(event="processed")])


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
def clock(now: datetime) -> FixedClock:
    return FixedClock(now)


class World:
    """One home with an accept log and a poster that can be killed and started again."""

    def __init__(self, home: Path, clock: FixedClock, receiver: Receiver, script: Mapping[str, Iterable[Reaction]]):
        self.home, self.clock, self.receiver, self.script = home, clock, receiver, script
        self.log = AcceptLog(home, clock)
        self.start()

    def start(self) -> None:
        self.poster = EventPoster(
            self.home,
            WEBHOOK,
            Scripted(self.script) if self.script else None,
            client=httpx.Client(transport=httpx.MockTransport(self.receiver)),
        )

    def kill(self) -> None:
        self.poster._posted_log.close()  # what the kernel does at a kill: the lock goes, nothing is written

    def accept(self, *addresses: str, **more: object) -> str:
        mail = {
            "personalizations": [
                {
                    "to": [{"email": address}],
                    "custom_args": {"uptake_send_id": f"send-{n}", "email": "wins@never.example"},
                    "headers": {
                        "List-Unsubscribe": f"<http://127.0.0.1:8025/u/{n}>, <mailto:stop@example.com>",
                        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
                    },
                }
                for n, address in enumerate(addresses)
            ],
            "from": {"email": "success@example.com"},
            "subject": "Hello",
            "content": [{"type": "text/html", "value": "<p>Hello</p>"}],
            "asm": {"group_id": 11},
            **more,
        }
        return self.log.accept(json.dumps(mail).encode(), mail)

    def post_after(self, delay: timedelta) -> int:
        self.clock.moment += delay
        return self.poster.post_due(self.clock.now())


MakeWorld = Callable[..., World]


@pytest.fixture
def world(tmp_path: Path, clock: FixedClock, receiver: Receiver) -> MakeWorld:
    return lambda **script: World(
        tmp_path, clock, receiver, {f"{name}@example.com": steps for name, steps in script.items()}
    )


HOUR = timedelta(hours=1)
BOUNCE = [Reaction(event="processed"), Reaction(event="bounce", delay=HOUR)]


def test_by_default_every_mail_is_processed_and_delivered(world: MakeWorld, receiver: Receiver) -> None:
    here = world()
    here.accept("ana@example.com", "bo@example.com")
    assert here.post_after(timedelta(0)) == 2
    assert here.post_after(timedelta(seconds=2)) == 2
    assert receiver.told == [
        ("processed", "ana@example.com"),
        ("processed", "bo@example.com"),
        ("delivered", "ana@example.com"),
        ("delivered", "bo@example.com"),
    ]
    assert here.post_after(HOUR) == 0


def test_batches_verify_with_sendgrids_own_helper(world: MakeWorld, receiver: Receiver, tmp_path: Path) -> None:
    here = world()
    here.accept("ana@example.com")
    here.post_after(HOUR)
    request = receiver.requests[0]
    signature = request.headers["X-Twilio-Email-Event-Webhook-Signature"]
    timestamp = request.headers["X-Twilio-Email-Event-Webhook-Timestamp"]
    assert timestamp == str(int(here.clock.now().timestamp()))
    assert request.content[:1] == b"["
    verifier = EventWebhook(webhook_public_key(tmp_path))
    assert verifier.verify_signature(request.content.decode(), signature, timestamp)
    assert not verifier.verify_signature(request.content.decode() + " ", signature, timestamp)
    assert stat.S_IMODE((tmp_path / "fakegrid" / "webhook_key.pem").stat().st_mode) == 0o600


def test_an_event_looks_like_sendgrids(world: MakeWorld, receiver: Receiver, clock: FixedClock) -> None:
    click = Reaction(event="click", delay=HOUR, fields={"url": "https://app.example.com/x", "event": "open"})
    here = world(ana=[click])
    message_id = here.accept("ana@example.com", categories=["a", "b"])
    accepted_at = clock.now()
    here.post_after(5 * HOUR)
    [event] = receiver.events
    assert event["timestamp"] == int((accepted_at + HOUR).timestamp())  # when it happened, not when it was posted
    assert (event["event"], event["email"], event["url"]) == ("click", "ana@example.com", "https://app.example.com/x")
    assert (event["uptake_send_id"], event["category"]) == ("send-0", ["a", "b"])
    assert event["sg_message_id"].startswith(f"{message_id}.")
    assert message_id in event["smtp-id"]
    assert 20 < len(event["sg_event_id"]) <= 100


def test_fields_are_those_of_the_official_samples(world: MakeWorld, receiver: Receiver, shared_data: Path) -> None:
    names = ["processed", "delivered", "deferred", "bounce", "open", "click", "spamreport", "group_unsubscribe"]
    here = world(ana=[Reaction(event=name, fields={"url": "x"} if name == "click" else {}) for name in names])
    here.accept("ana@example.com", categories=["cat facts"])
    here.post_after(HOUR)
    official = json.loads((shared_data / "sendgrid-webhook" / "events_all_types_official.json").read_text())
    for event in receiver.events:
        sample = next(one for one in official if one["event"] == event["event"])
        missing = (
            {*sample} - {*event} - {"pool"} - ({"useragent", "ip", "url"} if event["event"][:5] == "group" else set())
        )
        assert not missing, (event["event"], missing)


def test_reactions_come_when_they_are_due_and_not_before(world: MakeWorld, receiver: Receiver) -> None:
    here = world(ana=[Reaction(event="open", delay=2 * HOUR), Reaction(event="delivered", delay=HOUR)])
    here.accept("ana@example.com")
    assert [here.post_after(timedelta(minutes=30)) for _ in range(5)] == [0, 1, 0, 1, 0]
    assert [name for name, _ in receiver.told] == ["delivered", "open"]


MINUTE = timedelta(minutes=1)


def test_what_is_refused_is_tried_again_at_growing_intervals(world: MakeWorld, receiver: Receiver) -> None:
    here = world()
    here.accept("ana@example.com")
    receiver.status = 503
    start, tries = here.clock.moment, []
    for minute in range(60 * 10):
        before = len(receiver.requests)
        here.poster.post_due(start + minute * MINUTE)
        tries += [minute] * (len(receiver.requests) - before)
    assert tries == [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 496]  # never more than four hours between two
    receiver.status = 200
    assert here.poster.post_due(start + 495 * MINUTE) == 0
    assert here.poster.post_due(start + 736 * MINUTE) == 2
    receiver.status = 503
    here.accept("bo@example.com")
    assert here.poster.post_due(start + 740 * MINUTE) == 0
    receiver.status = 200
    assert here.poster.post_due(start + 740 * MINUTE) == 2, "an acceptance ends the waiting"


def test_what_is_refused_for_a_day_is_lost_and_the_service_still_knows_of_it(
    world: MakeWorld, receiver: Receiver, tmp_path: Path
) -> None:
    here = world(ana=BOUNCE, bo=[Reaction(event="open", delay=timedelta(hours=20))])
    here.accept("ana@example.com", "bo@example.com")
    receiver.status = 503
    for _ in range(30 * 4):
        here.post_after(15 * MINUTE)
    receiver.status = 200
    here.post_after(timedelta(hours=4))
    assert receiver.told == [("open", "bo@example.com")], "what happened later had its day yet to come"
    lost = [json.loads(line) for line in posted_path(tmp_path).read_text().splitlines()]
    assert [(line["event"], line["outcome"]) for line in lost[:2]] == [("processed", "lost"), ("bounce", "lost")]
    here.accept("ana@example.com")
    here.post_after(HOUR)
    assert receiver.told[-1] == ("dropped", "ana@example.com")
    here.kill()
    here.start()
    assert here.post_after(HOUR) == 0, "what is lost stays lost"


@pytest.mark.parametrize("status", [0, 302, 400, 500])
def test_a_refused_batch_is_posted_again_at_the_next_call(world: MakeWorld, receiver: Receiver, status: int) -> None:
    here = world()
    here.accept("ana@example.com")
    receiver.status = status
    assert here.post_after(timedelta(0)) == 0
    assert here.post_after(timedelta(seconds=2)) == 0
    receiver.status = 200
    assert here.post_after(HOUR) == 2
    assert [name for name, _ in receiver.told] == ["processed", "delivered"]


def test_no_batch_exceeds_768_kilobytes_and_no_event_is_lost_between_them(world: MakeWorld, receiver: Receiver) -> None:
    here = world()
    for n in range(5):
        here.accept(*[f"p{n}-{k}@example.com" for k in range(800)])
    assert here.post_after(HOUR) == 8000
    sizes = [len(request.content) for request in receiver.requests]
    assert max(sizes) <= MAX_BATCH_BYTES
    assert min(sizes[:-1]) > MAX_BATCH_BYTES - 2000
    assert len({event["sg_event_id"] for event in receiver.events}) == 8000


def test_a_restart_posts_nothing_twice_and_forgets_nothing(world: MakeWorld, receiver: Receiver) -> None:
    here = world(ana=[Reaction(event="processed"), Reaction(event="delivered", delay=HOUR)])
    here.accept("ana@example.com", "bo@example.com")
    here.post_after(timedelta(0))
    here.kill()
    here.start()
    here.post_after(HOUR)
    here.kill()
    here.start()
    here.post_after(HOUR)
    assert sorted(receiver.told) == [
        ("delivered", "ana@example.com"),
        ("processed", "ana@example.com"),
        ("processed", "bo@example.com"),
    ]


def test_a_kill_between_acknowledgement_and_record_repeats_the_batch(
    world: MakeWorld, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = world()
    here.accept("ana@example.com")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(here.poster._posted_log, "append", killed)
    with pytest.raises(KeyboardInterrupt):
        here.post_after(timedelta(0))
    here.kill()
    here.start()
    here.post_after(timedelta(0))
    assert [name for name, _ in receiver.told] == ["processed", "processed"]
    assert len({event["sg_event_id"] for event in receiver.events}) == 1  # so a receiver can tell


def test_a_torn_record_is_ignored(world: MakeWorld, receiver: Receiver, tmp_path: Path) -> None:
    here = world()
    here.accept("ana@example.com")
    here.post_after(HOUR)
    here.kill()
    posted_path(tmp_path).write_bytes(posted_path(tmp_path).read_bytes()[:-5])
    here.start()
    assert here.post_after(HOUR) == 1
    assert [name for name, _ in receiver.told] == ["processed", "delivered", "delivered"]


SUPPRESSING = {
    "bounce": ([Reaction(event="bounce")], "Bounced Address"),
    "complaint": ([Reaction(event="spamreport")], "Spam Reporting Address"),
    "unsubscribe": ([Reaction(event="unsubscribe")], "Unsubscribed Address"),
    "group": ([Reaction(event="group_unsubscribe")], "Unsubscribed Address"),
}


@pytest.mark.parametrize("case", SUPPRESSING)
def test_mail_to_a_suppressed_address_is_dropped(world: MakeWorld, receiver: Receiver, case: str) -> None:
    script, reason = SUPPRESSING[case]
    here = world(ana=script)
    here.accept("ana@example.com")
    here.post_after(HOUR)
    here.accept("Ana@example.com")
    here.post_after(HOUR)
    assert [(event["event"], event.get("reason")) for event in receiver.events][1:] == [("dropped", reason)]


def test_a_temporary_block_suppresses_nobody(world: MakeWorld, receiver: Receiver) -> None:
    here = world(ana=[Reaction(event="bounce", fields={"type": "blocked"})])
    for _ in range(2):
        here.accept("ana@example.com")
        here.post_after(HOUR)
    assert [event["event"] for event in receiver.events] == ["bounce", "bounce"]


def test_a_group_unsubscribe_stops_its_group_only_and_until_taken_back(world: MakeWorld, receiver: Receiver) -> None:
    here = world(ana=[Reaction(event="group_unsubscribe")], bo=[Reaction(event="processed")])
    here.accept("ana@example.com")
    here.post_after(HOUR)
    here.accept("ana@example.com", asm={"group_id": 12})
    here.post_after(HOUR)
    here.script["ana@example.com"][:] = [Reaction(event="group_resubscribe")]
    here.accept("ana@example.com", asm={"group_id": 12})
    here.post_after(HOUR)
    here.accept("ana@example.com", asm={"group_id": 12})
    here.accept("ana@example.com")
    here.post_after(HOUR)
    assert [(event["event"], event.get("asm_group_id")) for event in receiver.events] == [
        ("group_unsubscribe", 11),
        ("group_unsubscribe", 12),
        ("dropped", None),
        ("dropped", None),
        ("dropped", None),
    ]


def test_what_the_service_learnt_is_learnt_again_after_a_restart(world: MakeWorld, receiver: Receiver) -> None:
    here = world(ana=BOUNCE)
    here.accept("ana@example.com")
    here.post_after(2 * HOUR)
    here.kill()
    here.start()
    here.accept("ana@example.com")
    here.post_after(HOUR)
    assert [name for name, _ in receiver.told] == ["processed", "bounce", "dropped"]


ONE_CLICK = [Reaction(action="one_click", delay=HOUR)]


def test_one_click_posts_to_the_mails_own_address_once(world: MakeWorld, receiver: Receiver) -> None:
    here = world(bo=ONE_CLICK)
    here.accept("ana@example.com", "bo@example.com")
    here.post_after(timedelta(minutes=59))
    assert receiver.one_clicks == []
    assert here.post_after(timedelta(minutes=1)) == 1
    here.kill()
    here.start()
    here.post_after(HOUR)
    assert receiver.one_clicks == ["/u/1"]


def test_one_click_is_retried_while_nobody_answers_and_given_up_when_refused(
    world: MakeWorld, receiver: Receiver, tmp_path: Path
) -> None:
    here = world(ana=ONE_CLICK)
    here.accept("ana@example.com")
    receiver.status = 0
    assert here.post_after(HOUR) == 0
    receiver.status = 503
    assert here.post_after(HOUR) == 0
    receiver.status = 404
    assert here.post_after(HOUR) == 1
    assert here.post_after(HOUR) == 0
    assert json.loads(posted_path(tmp_path).read_text())["outcome"] == "refused with 404"


def test_nobody_outside_this_machine_is_ever_called(world: MakeWorld, receiver: Receiver, tmp_path: Path) -> None:
    for url in ("https://example.com/hook", "http://127.0.0.1.example.com/", "http://10.0.0.1/", "file:///etc/passwd"):
        with pytest.raises(SettingsError, match="this machine only"):
            EventPoster(tmp_path / "other", url)
    here = world(ana=ONE_CLICK)
    here.accept(
        "ana@example.com",
        headers={"X-A": "1"},
        personalizations=[
            {
                "to": [{"email": "ana@example.com"}],
                "headers": {
                    "List-Unsubscribe": "<https://example.com/u/1>",
                    "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
                },
            }
        ],
    )
    with pytest.raises(SettingsError, match=r"example\.com"):
        here.post_after(HOUR)
    assert receiver.requests == []


def test_a_disorderly_webhook_repeats_mixes_and_forgets_ids_and_still_tells_all(
    world: MakeWorld, receiver: Receiver, tmp_path: Path
) -> None:
    here = world()
    here.script = {f"p{n}@example.com": BOUNCE for n in range(40)}
    here.kill()
    client = httpx.Client(transport=httpx.MockTransport(receiver))
    here.poster = EventPoster(tmp_path, WEBHOOK, Scripted(here.script), client=client, disorder=Disorder(seed=1))
    here.accept(*here.script)
    assert here.post_after(2 * HOUR) == 80
    told = [event["sg_event_id"] for event in receiver.events]
    assert len(set(told)) == 80
    assert 5 < len(told) - 80 < 30, "repeats"
    assert [event["event"] for event in receiver.events[:80]] != ["processed"] * 40 + ["bounce"] * 40
    nameless = [event for event in receiver.events if "sg_message_id" not in event]
    assert {event["event"] for event in nameless} == {"bounce"}
    assert 5 < len(nameless) < 40
    assert not any("uptake_send_id" in event for event in nameless)
    assert any("ключ" in event for event in receiver.events)
    assert len(posted_path(tmp_path).read_text().splitlines()) == 80, "the service itself counts each once"


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["go on", "kill", "refuse"])), min_size=1, max_size=8),
    delays=st.lists(st.integers(0, 5), min_size=1, max_size=4),
)
def test_kills_and_refusals_change_nothing_about_what_is_told(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, str]], delays: list[int]
) -> None:
    script = {
        "p0@example.com": [Reaction(event="open", delay=timedelta(hours=delay)) for delay in delays],
        "p1@example.com": [Reaction(event="bounce", delay=timedelta(hours=delays[0]))],
    }

    def run(*, calmly: bool) -> list[tuple[str, str, str, int]]:
        receiver = Receiver()
        start = datetime(2026, 3, 3, 9, tzinfo=UTC)
        here = World(tmp_path_factory.mktemp("home"), FixedClock(start), receiver, script)
        for hours, what in steps:
            here.accept("p0@example.com", "p1@example.com", "p2@example.com")
            receiver.status = 500 if what == "refuse" and not calmly else 200
            here.post_after(timedelta(hours=hours))
            if what == "kill" and not calmly:
                here.kill()
                here.start()
        receiver.status = 200
        here.post_after(timedelta(days=2))
        return [(event["event"], event["email"], event["sg_event_id"], event["timestamp"]) for event in receiver.events]

    told, calm = run(calmly=False), run(calmly=True)
    assert sorted(told) == sorted(calm)
    assert len(set(told)) == len(told)
