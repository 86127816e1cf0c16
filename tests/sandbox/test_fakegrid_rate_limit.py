from __future__ import annotations

from collections import Counter
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from tests.crash.outbox import NOW, Outbox, copy_ledger, judge, prepared, serving
from tests.sandbox.test_fakegrid import body
from uptake.sandbox.fakegrid import RateLimit
from uptake.testing import FixedClock

PER_MINUTE = 3


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(tmp_path_factory.mktemp("planned"), 12)


def limit(headers: str = "true") -> RateLimit:
    return RateLimit(requests=PER_MINUTE, headers=headers)


def test_a_window_takes_so_many_requests_and_says_so(tmp_path: Path) -> None:
    clock = FixedClock(NOW + timedelta(seconds=20))
    with serving(tmp_path, clock, limit=limit()) as server, httpx.Client(trust_env=False) as client:

        def post(number: int) -> httpx.Response:
            mail = body(f"a{number}@b.example", asm={"group_id": 7})
            key = {"Authorization": "Bearer SG.crash"}
            return client.post(f"{server.url}/v3/mail/send", json=mail, headers=key)

        answers = [post(number) for number in range(4)]
        assert [answer.status_code for answer in answers] == [202, 202, 202, 429]
        assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["2", "1", "0", "0"]
        assert {answer.headers["X-RateLimit-Limit"] for answer in answers} == {"3"}
        assert {int(answer.headers["X-RateLimit-Reset"]) for answer in answers} == {int(NOW.timestamp()) + 60}
        assert answers[3].json()["errors"][0]["message"] == "too many requests"
        clock.moment += timedelta(seconds=40)
        assert post(4).status_code == 202


def test_without_a_limit_nothing_is_said_of_one(tmp_path: Path) -> None:
    with serving(tmp_path, FixedClock(NOW)) as server:
        answer = httpx.get(f"{server.url}/v3/mail/send")
    assert not [name for name in answer.headers if name.startswith("x-ratelimit")]


@pytest.mark.parametrize("headers", ["true", "absent", "milliseconds", "past", "words"])
def test_whatever_the_headers_say_everybody_is_mailed_once(planned: Path, tmp_path: Path, headers: str) -> None:
    home, clock = tmp_path / "home", FixedClock(NOW)
    url = copy_ledger(planned, home)
    with serving(home, clock, limit=limit(headers)) as server:
        boxes = [Outbox(url, home, server.url, clock) for _ in range(2)]
        refused: Counter[str] = Counter()
        for turn in range(60):
            result = boxes[turn % 2].send(owner=f"w{turn % 2}", batch_size=2)  # a dozen mails take several windows
            refused["429"] += "429" in (result.stopped or "")
            if result.stopped is None:
                break
            until = boxes[0].ledger.releases.controls().sending_paused_until
            assert until is not None  # for both workers, whoever met the limit
            idle = boxes[(turn + 1) % 2].send(owner="other", batch_size=2)
            assert (idle.requests, idle.stopped) == (0, f"sending is paused until {until:%Y-%m-%d %H:%M:%S} UTC")
            assert timedelta(0) < until - clock.moment <= timedelta(seconds=60)
            clock.moment = until
        found = judge(home, boxes[0].statuses())
        for box in boxes:
            box.close()
    assert (found.accepted, found.duplicates, found.losses) == (12, 0, ())
    assert bool(refused["429"]) == (headers != "true")  # true headers stop the pace before anything is refused
