from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.sandbox.openapi import Spec
from uptake.sandbox.fakegrid import EventPoster, Reaction, create_fakegrid
from uptake.sandbox.serving import Serving
from uptake.testing import FixedClock

NOW = datetime(2026, 3, 3, 9, tzinfo=UTC)
KEYS = {"SG.send": frozenset({"mail.send"}), "SG.read": frozenset({"messages.read"})}


class Account:
    """One account at fakegrid, with its mails."""

    def __init__(self, home: Path, url: str, clock: FixedClock) -> None:
        self.home, self.clock = home, clock
        self.http = httpx.Client(base_url=url, headers={"Authorization": "Bearer SG.x"}, trust_env=False)

    def send(self, *names: str, group: int | None = 7) -> str:
        people = [
            {"to": [{"email": f"{name}@x.example"}], "custom_args": {"uptake_send_id": f"send-{name}"}}
            for name in names
        ]
        body: dict[str, Any] = {
            "personalizations": people,
            "from": {"email": "ada@acme.example"},
            "subject": "Hello",
            "categories": ["activate"],
            "content": [{"type": "text/plain", "value": "Hi"}],
        }
        if group is not None:
            body["asm"] = {"group_id": group}
        answer = self.http.post("/v3/mail/send", json=body)
        assert answer.status_code == 202, answer.text
        return answer.headers["X-Message-Id"]

    def search(self, query: str, **options: Any) -> list[dict[str, Any]]:
        answer = self.http.post("/v3/logs", json={"query": query, **options})
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["messages"]
        return found

    def get(self, path: str, **params: int) -> Any:
        answer = self.http.get(path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def react(self, **events: Reaction) -> list[dict[str, Any]]:
        """Let recipients react, by name; return what the webhook was told."""
        told: list[dict[str, Any]] = []

        class People:
            def reactions(self, accepted):
                return [events[accepted["to"].split("@")[0]]]

        def take(request: httpx.Request) -> httpx.Response:
            told.extend(__import__("json").loads(request.content))
            return httpx.Response(204)

        client = httpx.Client(transport=httpx.MockTransport(take))
        poster = EventPoster(self.home, "http://127.0.0.1:1/hook", People(), client=client)
        poster.post_due(self.clock.now())
        poster.close()
        return told


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    clock = FixedClock(NOW)
    app = create_fakegrid(
        tmp_path, clock=clock, api_key="SG.x", groups=frozenset({7, 8}), keys=KEYS, log_lag=timedelta(minutes=10)
    )
    with Serving(app) as server:
        found = Account(tmp_path, server.url, clock)
        yield found
        found.http.close()


def test_the_log_shows_a_mail_after_its_lag_and_its_arguments_only_alone(account):
    message_id = account.send("ann", "bob")
    assert account.search("to_email = 'ann@x.example'") == []
    account.clock.moment += timedelta(minutes=10)
    (found,) = account.search("to_email = 'ANN@x.example'")
    assert found["sg_message_id"].startswith(message_id)
    assert "custom_args" not in found
    whole = account.get(f"/v3/logs/{found['sg_message_id']}")
    assert whole["custom_args"] == {"uptake_send_id": "send-ann"}
    assert account.http.get("/v3/logs/nope").status_code == 404


def test_the_log_has_no_pages_and_gives_the_newest_first(account):
    for number in range(12):
        account.send(f"p{number:02}")
        account.clock.moment += timedelta(minutes=1)
    account.clock.moment += timedelta(minutes=10)
    assert len(account.search("")) == 10
    assert [one["to_email"] for one in account.search("", limit=2)] == ["p11@x.example", "p10@x.example"]
    since, until = (f'TIMESTAMP "{NOW + timedelta(minutes=m):%Y-%m-%dT%H:%M:%SZ}"' for m in (3, 5))
    query = f"sg_message_id_created_at >= {since} AND sg_message_id_created_at < {until} AND categories IN ('activate')"
    assert [one["to_email"] for one in account.search(query, limit=1000)] == ["p04@x.example", "p03@x.example"]


@pytest.mark.parametrize(
    "query", ["send_id = 'x'", "to_email > 'x'", "to_email = 'x' OR subject = 'y'", "to_email", "status = 'processed'"]
)
def test_a_query_the_service_does_not_know_is_refused(account, query):
    answer = account.http.post("/v3/logs", json={"query": query})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "query"


@pytest.mark.parametrize("limit", [0, 1001, "10"])
def test_a_limit_out_of_bounds_is_refused(account, limit):
    assert account.http.post("/v3/logs", json={"query": "", "limit": limit}).status_code == 400


def test_a_key_may_do_what_its_scopes_say(account):
    def status(key: str, method: str, path: str) -> int:
        return account.http.request(method, path, json={}, headers={"Authorization": f"Bearer {key}"}).status_code

    assert status("SG.send", "POST", "/v3/logs") == 403
    assert status("SG.read", "POST", "/v3/logs") == 200
    assert status("SG.read", "POST", "/v3/mail/send") == 403
    assert status("SG.send", "POST", "/v3/mail/send") == 400
    assert status("SG.none", "POST", "/v3/logs") == 401


def test_the_lists_show_what_came_of_mails_and_shift_while_they_are_read(account):
    account.send("ann", "bob", "cyd", "dan", "eve")
    account.react(
        ann=Reaction(event="bounce", fields={"type": "bounce", "reason": "550 no such user"}),
        bob=Reaction(event="bounce", fields={"type": "blocked", "reason": "421 busy"}),
        cyd=Reaction(event="spamreport"),
        dan=Reaction(event="group_unsubscribe"),
        eve=Reaction(event="bounce", fields={"type": "bounce", "reason": "550 gone"}),
    )
    assert {one["email"] for one in account.get("/v3/suppression/bounces")} == {"ann@x.example", "eve@x.example"}
    assert [one["email"] for one in account.get("/v3/suppression/blocks")] == ["bob@x.example"]
    assert [one["email"] for one in account.get("/v3/suppression/spam_reports")] == ["cyd@x.example"]
    assert account.get("/v3/asm/groups/7/suppressions") == ["dan@x.example"]
    assert account.get("/v3/asm/groups/8/suppressions") == []
    first = account.get("/v3/suppression/bounces", limit=1)
    account.clock.moment += timedelta(minutes=1)
    account.send("fay")
    account.react(**{n: Reaction(event="bounce") for n in ("ann", "bob", "cyd", "dan", "eve", "fay")})
    second = account.get("/v3/suppression/bounces", limit=1, offset=1)
    assert first == second, "the newest come first, so a page read later repeats what was read before"
    assert account.http.get("/v3/suppression/bounces", params={"limit": 501}).status_code == 400
    assert account.get("/v3/suppression/bounces", end_time=int(NOW.timestamp()) - 1) == []


def test_what_the_owner_adds_is_dropped_from_then_on_and_may_be_taken_back(account):
    answer = account.http.post("/v3/asm/groups/7/suppressions", json={"recipient_emails": ["Ann@x.example"]})
    assert (answer.status_code, answer.json()) == (201, {"recipient_emails": ["Ann@x.example"]})
    account.http.post("/v3/asm/suppressions/global", json={"recipient_emails": ["bob@x.example"]})
    found = account.http.post(
        "/v3/asm/groups/7/suppressions/search", json={"recipient_emails": ["ann@x.example", "bob@x.example"]}
    )
    assert found.json() == ["ann@x.example"]
    account.clock.moment += timedelta(minutes=1)
    account.send("ann", "bob", "cyd")
    seen = {e["email"]: e["event"] for e in account.react(cyd=Reaction(event="processed"))}
    assert seen == {"ann@x.example": "dropped", "bob@x.example": "dropped", "cyd@x.example": "processed"}
    assert account.http.delete("/v3/asm/groups/7/suppressions/ann@x.example").status_code == 204
    assert account.get("/v3/asm/groups/7/suppressions") == []
    assert account.http.post("/v3/asm/groups/9/suppressions", json={"recipient_emails": ["a@x.example"]}).is_error
    assert account.http.post("/v3/asm/groups/7/suppressions", json={"recipient_emails": ["nobody"]}).is_error


def test_erased_data_leave_the_log(account):
    account.send("ann", "bob")
    account.clock.moment += timedelta(minutes=10)
    answer = account.http.post("/v3/recipients/erasejob", json={"email_addresses": ["ann@x.example"]})
    assert answer.status_code == 202
    assert answer.json()["job_id"]
    assert [one["to_email"] for one in account.search("")] == ["bob@x.example"]
    assert account.http.post("/v3/recipients/erasejob", json={"email_addresses": ["x"]}).status_code == 400
    many = [f"p{n}@x.example" for n in range(5_001)]
    assert account.http.post("/v3/recipients/erasejob", json={"email_addresses": many}).status_code == 400


def test_every_answer_is_one_that_sendgrids_own_document_allows(account, shared_data):
    account.send("ann")
    account.react(ann=Reaction(event="bounce", fields={"type": "bounce", "reason": "550 no such user"}))
    account.clock.moment += timedelta(minutes=10)
    logs, lists, erasure = (
        Spec(shared_data / "sendgrid-openapi" / f"tsg_{name}_v3.json")
        for name in ("logs", "suppressions", "recipients_data_erasure")
    )
    (found,) = account.search("")
    logs.check_answer("/v3/logs", "post", 200, {"messages": [found]})
    whole = account.get(f"/v3/logs/{found['sg_message_id']}")
    assert len(whole["events"]) == 1
    logs.check_answer("/v3/logs/{sg_message_id}", "get", 200, whole)
    lists.check_answer("/v3/suppression/bounces", "get", 200, account.get("/v3/suppression/bounces"))
    group = account.get("/v3/asm/groups/7/suppressions")
    lists.check_answer("/v3/asm/groups/{group_id}/suppressions", "get", 200, group)
    job = account.http.post("/v3/recipients/erasejob", json={"email_addresses": ["ann@x.example"]}).json()
    erasure.check_answer("/v3/recipients/erasejob", "post", 202, job)
