from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.responses import Response

from uptake.errors import SettingsError, UptakeError
from uptake.sandbox.fakegrid import create_fakegrid
from uptake.sandbox.fakegrid.accept_log import AcceptLog, Tail, accepted_path, read_request
from uptake.sandbox.fakegrid.mail import mail_to, one_click_url, substitute
from uptake.sandbox.serving import Serving, serve
from uptake.testing import FixedClock

KEY = "SG.test"
AUTH = {"Authorization": f"Bearer {KEY}"}


def body(*addresses: str, **more: object) -> dict[str, Any]:
    return {
        "personalizations": [
            {
                "to": [{"email": address, "name": "Ana"}],
                "substitutions": {"-name-": f"Ana {n}", "-id-": str(n)},
                "custom_args": {"uptake_send_id": f"send-{n}"},
                "headers": {
                    "List-Unsubscribe": f"<http://127.0.0.1:1/u/{n}>",
                    "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
                },
            }
            for n, address in enumerate(addresses)
        ],
        "from": {"email": "success@example.com"},
        "subject": "Hello -name-",
        "content": [
            {"type": "text/plain", "value": "Dear -name-"},
            {
                "type": "text/html",
                "value": '<a href="https://app.example.com/x?id=-id-&amp;b=2">Go</a> <a href="http://a.example/">no</a>'
                '<a href="https://app.example.com/unsubscribe/1">stop</a><a href="https://app.example.com/x?id=-id-&amp;b=2">',
            },
        ],
        **more,
    }


def log(home: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in accepted_path(home).read_text().splitlines()]


@pytest.fixture
def clock(now: datetime) -> FixedClock:
    return FixedClock(now)


Start = Callable[..., AbstractContextManager[Serving]]


@pytest.fixture
def start(tmp_path: Path, clock: FixedClock) -> Start:
    return lambda **more: serve(create_fakegrid(tmp_path, clock=clock, api_key=KEY, **more))


@pytest.fixture
def url(start: Start) -> Iterator[str]:
    with start() as server:
        yield f"{server.url}/v3/mail/send"


def test_a_mail_is_accepted_with_an_id_of_22_characters(url: str, tmp_path: Path, clock: FixedClock) -> None:
    answer = httpx.post(url, json=body("ana@example.com", "bo@example.com"), headers=AUTH)
    assert (answer.status_code, answer.content) == (202, b"")
    message_id = answer.headers["X-Message-Id"]
    assert len(message_id) == 22
    lines = log(tmp_path)
    assert [(line["send_id"], line["to"], line["subject"]) for line in lines] == [
        ("send-0", "ana@example.com", "Hello Ana 0"),
        ("send-1", "bo@example.com", "Hello Ana 1"),
    ]
    assert {line["message_id"] for line in lines} == {message_id}
    assert {line["accepted_at"] for line in lines} == {clock.now().isoformat()}
    assert lines[1]["links"] == ["https://app.example.com/x?id=1&b=2"]  # no http, no unsubscribe, each once


def test_a_copied_recipient_has_a_line_too(url: str, tmp_path: Path) -> None:
    mail = body("ana@example.com")
    mail["personalizations"][0]["bcc"] = [{"email": "log@example.com"}]
    httpx.post(url, json=mail, headers=AUTH)
    assert [(line["to"], line["send_id"]) for line in log(tmp_path)] == [
        ("ana@example.com", "send-0"),
        ("log@example.com", "send-0"),
    ]


def test_sandbox_mode_is_answered_with_200_and_accepts_nothing(url: str, tmp_path: Path) -> None:
    mail = body("ana@example.com", mail_settings={"sandbox_mode": {"enable": True}})
    answer = httpx.post(url, json=mail, headers=AUTH)
    assert (answer.status_code, answer.content, "X-Message-Id" in answer.headers) == (200, b"", False)
    assert log(tmp_path) == []


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {KEY}"}])
def test_a_wrong_key_is_401(url: str, tmp_path: Path, headers: dict[str, str]) -> None:
    answer = httpx.post(url, json=body("ana@example.com"), headers=headers)
    assert answer.status_code == 401
    assert answer.json() == {
        "errors": [
            {
                "message": "The provided authorization grant is invalid, expired, or revoked",
                "field": None,
                "help": None,
            }
        ]
    }
    assert log(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "kind", "status", "words"),
    [
        (b"{", "application/json", 400, "Bad Request"),
        (b'{"a": "\xff"}', "application/json", 400, "UTF8"),
        (b"", "application/json", 400, "Bad Request"),
        (b"{}", "text/plain", 415, "application/json"),
        (b"{}", "application/json; charset=utf-8", 400, "personalizations"),
    ],
)
def test_what_is_no_mail_is_refused(url: str, content: bytes, kind: str, status: int, words: str) -> None:
    answer = httpx.post(url, content=content, headers={**AUTH, "Content-Type": kind})
    assert answer.status_code == status
    assert words in answer.json()["errors"][0]["message"]


def test_one_invalid_address_refuses_the_whole_request(url: str, tmp_path: Path) -> None:
    answer = httpx.post(url, json=body("ana@example.com", "not an address"), headers=AUTH)
    assert answer.status_code == 400
    assert answer.json()["errors"] == [
        {
            "message": "Does not contain a valid address.",
            "field": "personalizations.1.to.0.email",
            "help": "http://sendgrid.com/docs/API_Reference/Web_API_v3/Mail/errors.html#message.personalizations.to",
        }
    ]
    assert log(tmp_path) == []


def test_thirty_megabytes_are_too_many_and_refused_before_they_have_come(url: str, tmp_path: Path) -> None:
    parts = urlsplit(url)
    head = f"POST {parts.path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Type: application/json\r\n"
    for length in (f"Content-Length: {30 * 1024 * 1024}\r\n\r\n".encode(), b"Transfer-Encoding: chunked\r\n\r\n"):
        with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
            connection.sendall(head.encode() + length)
            if b"chunked" in length:
                for _ in range(30):
                    connection.sendall(b"100000\r\n" + b" " * 1024 * 1024 + b"\r\n")
            answer = b""
            while not answer.endswith(b"]}"):
                more = connection.recv(65536)
                assert more, answer
                answer += more
        assert answer.startswith(b"HTTP/1.1 413 ")
    assert log(tmp_path) == []


def test_other_addresses_and_methods_get_sendgrids_envelope(url: str) -> None:
    for answer, status in [(httpx.get(url, headers=AUTH), 405), (httpx.post(url + "s", headers=AUTH), 404)]:
        assert answer.status_code == status
        assert set(answer.json()["errors"][0]) == {"message", "field", "help"}


def test_groups_of_the_account_are_known(start: Start) -> None:
    with start(groups=frozenset({11})) as server:
        codes = [
            httpx.post(
                f"{server.url}/v3/mail/send", json=body("a@b.example", asm={"group_id": group}), headers=AUTH
            ).status_code
            for group in (11, 12)
        ]
    assert codes == [202, 400]


def test_lines_are_on_disk_once_per_request_before_the_answer_leaves(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    at_answer: list[tuple[int, int]] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (real(handle), synced.append(os.fstat(handle).st_size)))

    async def look(phase: str, _body: bytes) -> Response | None:
        if phase == "accepted":
            at_answer.append((len(synced), accepted_path(tmp_path).stat().st_size))
        return None

    with start(fault=look) as server:
        synced.clear()
        for n in range(3):
            httpx.post(f"{server.url}/v3/mail/send", json=body(f"a{n}@b.example", "c@d.example"), headers=AUTH)
    assert [count for count, _ in at_answer] == [1, 2, 3]
    assert [size for _, size in at_answer] == synced


def test_a_fault_may_answer_instead(start: Start, tmp_path: Path) -> None:
    async def fail(phase: str, _body: bytes) -> Response | None:
        return Response("<html>502</html>", status_code=502) if phase == "read" else None

    with start(fault=fail) as server:
        assert httpx.post(f"{server.url}/v3/mail/send", json=body("a@b.example"), headers=AUTH).status_code == 502
    assert log(tmp_path) == []


KILLED = """
    import os, signal, sys
    from datetime import UTC, datetime
    from pathlib import Path
    from uptake.sandbox.fakegrid import create_fakegrid
    from uptake.sandbox.serving import serve
    from uptake.testing import FixedClock

    async def kill(phase, body):
        if phase == "accepted":
            os.kill(os.getpid(), signal.SIGKILL)

    clock = FixedClock(datetime(2026, 3, 3, 9, tzinfo=UTC))
    with serve(create_fakegrid(Path(sys.argv[1]), clock=clock, api_key="SG.test", fault=kill)) as server:
        print(server.url, flush=True)
        sys.stdin.read()
"""


def test_an_accepted_mail_outlives_a_kill_before_the_answer(start: Start, tmp_path: Path) -> None:
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.post(f"{address}/v3/mail/send", json=body("ana@example.com"), headers=AUTH)
        process.wait(timeout=10)
        assert process.returncode == -signal.SIGKILL
    assert [line["to"] for line in log(tmp_path)] == ["ana@example.com"]
    with start() as server:  # a restart goes on where the log stands, and never hides a duplicate
        answer = httpx.post(f"{server.url}/v3/mail/send", json=body("ana@example.com"), headers=AUTH)
    assert [line["to"] for line in log(tmp_path)] == ["ana@example.com"] * 2
    assert answer.headers["X-Message-Id"] == log(tmp_path)[1]["message_id"] != log(tmp_path)[0]["message_id"]


@pytest.mark.parametrize("keep", [1, 40, -1, -30])
def test_a_line_torn_by_a_kill_is_finished_with_its_request(tmp_path: Path, clock: FixedClock, keep: int) -> None:
    accepting = AcceptLog(tmp_path, clock)
    for addresses in (["a@b.example"], ["c@d.example", "e@f.example", "g@h.example"]):
        mail = body(*addresses)
        accepting.accept(json.dumps(mail).encode(), mail)
    accepting.close()
    whole = accepted_path(tmp_path).read_bytes()
    lines = whole.splitlines(keepends=True)
    accepted_path(tmp_path).write_bytes(b"".join(lines[:2]) + lines[2][:keep])
    clock.moment += timedelta(hours=1)
    AcceptLog(tmp_path, clock).close()
    assert accepted_path(tmp_path).read_bytes() == whole


def test_a_request_of_which_no_line_is_whole_was_never_accepted(tmp_path: Path, clock: FixedClock) -> None:
    accepting = AcceptLog(tmp_path, clock)
    mail = body("a@b.example")
    accepting.accept(json.dumps(mail).encode(), mail)
    accepting.close()
    accepted_path(tmp_path).write_bytes(accepted_path(tmp_path).read_bytes()[:-1])
    AcceptLog(tmp_path, clock).close()
    assert log(tmp_path) == []


def test_a_log_whose_last_request_was_tidied_away_still_opens(tmp_path: Path, clock: FixedClock) -> None:
    accepting = AcceptLog(tmp_path, clock)
    mail = body("a@b.example")
    message_id = accepting.accept(json.dumps(mail).encode(), mail)
    accepting.close()
    (tmp_path / "fakegrid" / "requests" / f"{message_id}.json").unlink()
    AcceptLog(tmp_path, clock).close()
    assert [line["to"] for line in log(tmp_path)] == ["a@b.example"]


def test_a_full_disk_leaves_no_half_request(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    with start() as server:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            first = httpx.post(f"{server.url}/v3/mail/send", json=body("a@b.example"), headers=AUTH)
        second = httpx.post(f"{server.url}/v3/mail/send", json=body("c@d.example"), headers=AUTH)
    assert (first.status_code, second.status_code) == (500, 202)
    assert [line["to"] for line in log(tmp_path)] == ["c@d.example"]


def test_two_processes_never_write_one_log(tmp_path: Path, clock: FixedClock) -> None:
    accepting = AcceptLog(tmp_path, clock)
    with pytest.raises(SettingsError, match="another process"):
        create_fakegrid(tmp_path, clock=clock, api_key=KEY)
    accepting.close()


def test_the_same_requests_get_the_same_ids_in_any_order(tmp_path: Path, clock: FixedClock) -> None:
    mails = [body("a@b.example"), body("c@d.example"), body("a@b.example")]

    def ids(home: Path, order: list[int]) -> set[str]:
        accepting = AcceptLog(home, clock)
        found = [accepting.accept(json.dumps(mails[n]).encode(), mails[n]) for n in order]
        accepting.close()
        return set(found)

    assert len(ids(tmp_path / "1", [0, 1, 2])) == 3
    assert ids(tmp_path / "2", [2, 1, 0]) == ids(tmp_path / "3", [0, 1, 2])


def test_a_tail_reads_each_whole_line_once(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    tail = Tail(path)
    assert tail.read_new() == []
    path.write_bytes(b'{"a":1}\n{"a":2}\n{"a"')
    assert tail.read_new() == [{"a": 1}, {"a": 2}]
    assert tail.read_new() == []
    with path.open("ab") as file:
        file.write(b":3}\n")
    assert tail.read_new() == [{"a": 3}]
    with path.open("ab") as file:
        file.write(b"broken\n")
    with pytest.raises(UptakeError, match="line 4"):
        tail.read_new()


def test_the_inbox_can_read_what_the_recipient_got(url: str, tmp_path: Path) -> None:
    answer = httpx.post(url, json=body("ana@example.com", "bo@example.com"), headers=AUTH)
    payload = read_request(tmp_path / "fakegrid" / "requests", answer.headers["X-Message-Id"])
    mail = mail_to(payload, 1, "bo@example.com")
    assert (mail.subject, mail.text, mail.to_name, mail.sender) == (
        "Hello Ana 1",
        "Dear Ana 1",
        "Ana",
        "success@example.com",
    )
    assert "id=1&amp;b=2" in mail.html
    assert one_click_url(mail.headers) == "http://127.0.0.1:1/u/1"


def test_a_value_that_looks_like_a_tag_stays_as_it_is() -> None:
    assert substitute("-a- -ab- -c-", {"-a-": "-ab-", "-ab-": "-a-", "": "x"}) == "-ab- -a- -c-"


def test_the_longest_tag_that_fits_is_replaced() -> None:
    assert substitute("%name%name2", {"%name": "1", "%name%name2": "2"}) == "2"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"List-Unsubscribe": "<http://127.0.0.1/u>"},
        {"List-Unsubscribe": "<mailto:a@b.example>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"},
    ],
)
def test_without_both_headers_there_is_no_one_click(headers: dict[str, str]) -> None:
    assert one_click_url(headers) is None


def test_a_server_stops_and_gives_its_port_back(tmp_path: Path, clock: FixedClock) -> None:
    server = serve(create_fakegrid(tmp_path, clock=clock, api_key=KEY)).start()
    with pytest.raises(SettingsError, match=f"127.0.0.1:{server.port}"):
        serve(create_fakegrid(tmp_path / "other", clock=clock, api_key=KEY), port=server.port).start()
    server.stop()
    server.stop()
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.url)
    with serve(create_fakegrid(tmp_path, clock=clock, api_key=KEY), port=server.port) as again:
        assert httpx.get(again.url).status_code == 404
