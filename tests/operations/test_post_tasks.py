"""The task webhook: real ticks, a real ledger, and a receiver on a socket of this machine."""

import base64
import hashlib
import hmac
import json
import shutil
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pydantic import SecretStr

from uptake.adapters.merge_fields_duckdb import DuckMergeFields
from uptake.adapters.task_webhook import TaskWebhook
from uptake.adapters.templates import fill_words
from uptake.bootstrap import Uptake
from uptake.errors import SettingsError
from uptake.operations.post_tasks import post_tasks
from uptake.operations.status import alarms
from uptake.operations.tasks import close_task
from uptake.settings import Settings
from uptake.summaries.tasks import task_board
from uptake.testing import FixedClock
from uptake.ticking import tell_of_tasks

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
NOW = datetime(2026, 3, 3, 9, tzinfo=UTC)
PLAYBOOKS = Path(__file__).parents[2] / "playbooks"
SECRET = "a secret of this test"
WORDS = "Hello {{ contact.given_name|default('there') }}, you pay for {{ account.seats }} seats."


class Receiver(ThreadingHTTPServer):
    """Keeps what it is told, and answers what it is told to."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.posts, self.answers = [], {}
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/tasks"

    @property
    def taken(self):
        return [json.loads(body) for _, body, status in self.posts if status == 204]


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        account_id = json.loads(body)["task"]["account_id"]
        status = self.server.answers.get(account_id) or self.server.answers.get(None) or 204
        self.server.posts.append((dict(self.headers), body, status))
        if status == "dies":
            self.connection.close()
            return
        self.send_response(status)
        self.send_header("location", "http://127.0.0.1:1/elsewhere")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_args):
        pass


@pytest.fixture
def receiver():
    found = Receiver()
    yield found
    found.shutdown()
    found.server_close()


@pytest.fixture
def told(town, receiver, now):
    """A playbook that begins with a call, approved and ticked; and what tells the receiver of it."""
    stages = {"call": {"task": "Call them", "within": "2d", "facts": ["account.arr"], "words": "call.md"}}
    stages["why"] = {"email": "why.md", "after": "1d"}
    town.releases["alpha"] = town.release(stages=stages).model_copy(update={"words": {"call": WORDS}})
    town.approve()
    town.tick()
    webhook = TaskWebhook(receiver.url, SecretStr(SECRET))

    def tell(at=now, **options):
        clock = FixedClock(at)
        return post_tasks(town.ledger, webhook, town, DuckMergeFields(), fill_words, clock=clock, **options)

    yield tell
    webhook.close()


def test_every_open_task_is_told_once_signed_and_without_any_address(town, told, receiver, now):
    open_tasks = town.ledger.read("open_tasks")
    assert told().posted == len(open_tasks) > 5
    assert told(now + HOUR) == told(now + 2 * HOUR)  # nothing is new
    assert len(receiver.posts) == len(open_tasks)
    for task, (headers, body, _) in zip(
        sorted(open_tasks, key=lambda one: one["task_id"]), receiver.posts, strict=True
    ):
        document = json.loads(body)
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        mac = hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()
        assert headers["webhook-signature"] == "v1," + base64.b64encode(mac).decode()
        assert int(headers["webhook-timestamp"]) == int(now.timestamp())
        assert document["dedupe_key"] == headers["webhook-id"]
        account = town.accounts[task["account_id"]]
        assert document["type"] == "task.opened"
        assert document["task"] == {
            "task_id": task["task_id"], "playbook": "alpha", "stage": "call", "title": "Call them", "owner": None,
            "opened_at": now.isoformat(), "due_at": (now + 2 * DAY).isoformat(), "status": "open", "closed_at": None,
            "reason": None, "account_id": task["account_id"], "contact_id": task["contact_id"],
            "contact_role": task["role"], "feature_key": "dashboards", "facts": {"account.arr": account["arr"]},
            "words": f"Hello there, you pay for {account['seats']} seats.",
        }  # fmt: skip
        assert b"@" not in body


def test_who_closes_a_task_and_what_withdraws_one_is_told_once(town, told, receiver, now):
    told()
    first, second, *_ = town.ledger.read("open_tasks")
    close_task(
        town.ledger,
        task_id=first["task_id"],
        outcome="declined",
        reason="Write to ann@x.example",
        by="Ada",
        now=now + HOUR,
    )
    town.states[second["account_id"]] = "adopted"
    town.publish(now + HOUR, snapshot_id="s1")
    town.tick(now + HOUR)
    receiver.posts.clear()
    assert told(now + 2 * HOUR).posted == 2
    assert told(now + 3 * HOUR).posted == 0
    closed = {one["task"]["task_id"]: one for one in receiver.taken}
    assert {one["type"] for one in closed.values()} == {"task.closed"}
    task = closed[first["task_id"]]["task"]
    assert (task["status"], task["reason"]) == ("declined", "Write to (address)")
    assert task["closed_at"] == (now + HOUR).isoformat()
    assert closed[second["task_id"]]["task"]["status"] == "withdrawn"


@pytest.mark.parametrize("answer", [503, "dies"])
def test_a_receiver_that_is_down_is_asked_once_a_tick_and_shown_in_status(town, told, receiver, now, answer):
    receiver.answers[None] = answer
    found = told()
    assert (found.posted, len(receiver.posts)) == (0, 1)
    (alarm,) = alarms(town.ledger, now=now, tick_interval=HOUR)
    assert "the task webhook" in alarm
    assert found.trouble in alarm
    assert receiver.url not in alarm
    # Meanwhile one is closed: that it was open is no news any more.
    first, *others = town.ledger.read("open_tasks")
    close_task(town.ledger, task_id=first["task_id"], outcome="done", reason="Shown", by="Ada", now=now + HOUR)
    receiver.answers.clear()
    assert told(now + HOUR).posted == len(others) + 1
    types = {one["task"]["task_id"]: one["type"] for one in receiver.taken}
    assert types == {one["task_id"]: "task.opened" for one in others} | {first["task_id"]: "task.closed"}
    assert alarms(town.ledger, now=now + HOUR, tick_interval=HOUR) == []


@pytest.mark.parametrize("answer", [400, 302])
def test_one_that_is_refused_is_in_no_other_ones_way(town, told, receiver, now, answer):
    first, *others = town.ledger.read("open_tasks")
    receiver.answers[first["account_id"]] = answer
    found = told()
    assert (found.posted, found.refused, found.trouble) == (len(others), 1, f"answered {answer}")
    receiver.answers.clear()
    assert told(now + HOUR).posted == 1


def test_what_was_posted_and_not_recorded_is_posted_again_under_the_same_key(town, told, receiver, monkeypatch):
    def die(*_args, **_options):
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr(town.ledger.tasks, "end_post", die)
        with pytest.raises(KeyboardInterrupt):
            told()
    told()
    keys = [json.loads(body)["dedupe_key"] for _, body, _ in receiver.posts]
    assert keys[0] == keys[1]
    assert len(set(keys)) == len(keys) - 1


def test_who_begins_to_listen_hears_of_open_tasks_and_not_of_closed_ones(town, told, receiver, now):
    first, *others = town.ledger.read("open_tasks")
    close_task(town.ledger, task_id=first["task_id"], outcome="done", reason="Shown", by="Ada", now=now)
    assert told(at_most=3).posted == 3
    assert told().posted == len(others) - 3
    assert {one["task"]["task_id"] for one in receiver.taken} == {one["task_id"] for one in others}


def test_without_a_receiver_nothing_waits_any_more(town, told, receiver, now):
    receiver.answers[None] = 503
    told()
    town.ledger.tasks.drop_posts()
    assert alarms(town.ledger, now=now, tick_interval=HOUR) == []


@pytest.mark.parametrize(
    ("url", "secret", "message"),
    [
        ("http://crm.example/hook", SECRET, "no https:// address"),
        ("ftp://127.0.0.1/hook", SECRET, "no https:// address"),
        ("https://crm.example/hook", None, "set UPTAKE_TASK_WEBHOOK_SECRET"),
        ("https://crm.example/hook", "whsec_***", "no base64"),
    ],
)
def test_what_is_unsafe_is_refused_without_quoting_it(url, secret, message):
    with pytest.raises(SettingsError, match=message) as raised:
        TaskWebhook(url, None if secret is None else SecretStr(secret))
    assert "crm" not in str(raised.value)
    assert "***" not in str(raised.value)


def test_nothing_leaves_this_machine_where_it_must_not(receiver):
    with pytest.raises(SettingsError, match="loopback alone: this is a sandbox"):
        TaskWebhook("https://crm.example/hook", SecretStr(SECRET), only_loopback="this is a sandbox")
    TaskWebhook(receiver.url, SecretStr(SECRET), only_loopback="this is a sandbox").close()


@pytest.mark.parametrize(
    ("lines", "trouble"),
    [
        ([], None),
        (["task_webhook:", "  url: https://crm.example/hook"], "loopback alone: UPTAKE_ENVIRONMENT is development"),
        (["task_webhook:", "  url: http://127.0.0.1:9/hook"], "set UPTAKE_TASK_WEBHOOK_SECRET"),
        (["task_webhook:", "  url: http://crm.example/hook"], "_workspace.yml"),
        (["task_webhook:", "  url: https://ann:secret@crm.example/hook"], "holds a name or a password"),
    ],
)
def test_a_tick_reads_from_the_workspace_whom_to_tell_and_says_what_is_wrong(tmp_path, monkeypatch, lines, trouble):
    monkeypatch.delenv("UPTAKE_TASK_WEBHOOK_SECRET", raising=False)
    folder = tmp_path / "playbooks"
    shutil.copytree(PLAYBOOKS, folder)
    with (folder / "_workspace.yml").open("a") as file:
        file.write("\n".join(["", *lines, ""]))
    uptake = Uptake(Settings(home=tmp_path / "home", playbooks_dir=folder))
    with closing(uptake):
        found = tell_of_tasks(uptake, FixedClock(NOW))
    assert (found is None) is (trouble is None)
    if found is not None:
        assert trouble in found.trouble
        assert "secret@" not in found.trouble


def test_whom_to_tell_is_no_part_of_a_release(town):
    plain, told = (town.release(workspace=one) for one in ({}, {"task_webhook": {"url": "https://crm.example/hook"}}))
    assert told.workspace.task_webhook is not None
    assert told.release_hash == plain.release_hash


def test_a_page_of_tasks_shows_ids_and_no_name(town, told, now):
    rows = town.ledger.read("open_tasks")
    board = task_board([{**rows[0], "full_name": "Ann Example", "title": "<b>"}, *rows[1:]] * 20, now=now + 3 * DAY)
    assert f"{20 * len(rows)} tasks are open, {20 * len(rows)} of them overdue" in board
    assert rows[0]["contact_id"] in board
    assert "Ann" not in board
    assert "<b>" not in board
    assert f"and {20 * len(rows) - 100} more" in board
    assert task_board([], now=now) == "# No task is open"
