from __future__ import annotations

import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import httpx
import pytest

from tests.adapters.mail_requests import KEY, SAID
from uptake.adapters.sendgrid import SendGridMailer
from uptake.errors import (
    AcceptanceUnknown,
    MailerUnavailable,
    MessageRefused,
)


@contextmanager
def a_server(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that treats one connection as it is told."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def run() -> None:
            connection, _ = listening.accept()
            with connection:
                serve(connection)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread.join(timeout=5)


def read_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(re.search(rb"content-length: (\d+)", head, re.IGNORECASE)[1])
    while len(body) < length:
        body += connection.recv(65536)
    return body


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def answer(raw: bytes, *, hang: bool = False) -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(raw)
        if hang:
            connection.recv(1)

    return serve


def reset_after_reading(connection: socket.socket) -> None:
    read_request(connection)
    reset(connection)


def reset_before_reading(connection: socket.socket) -> None:
    connection.recv(1)
    reset(connection)


def no_answer(connection: socket.socket) -> None:
    read_request(connection)
    connection.recv(1)


def over_the_wire(serve: Callable[[socket.socket], None]) -> str | None:
    timeout = httpx.Timeout(connect=2, write=2, read=0.2, pool=2)
    with a_server(serve) as url:
        mailer = SendGridMailer(url, KEY, timeout=timeout)
        try:
            return mailer.post(SAID)
        finally:
            mailer.close()


@pytest.mark.parametrize(
    "serve",
    [
        answer(b"HTTP/1.1 202 Accepted\r\nX-Message-Id: abc\r\nContent-Length: 0\r\n\r\n"),
        answer(b"HTTP/1.1 202 Accepted\r\nX-Message-Id: abc\r\nContent-Length: 99\r\n\r\ncut"),
        answer(b"HTTP/1.1 202 Accepted\r\nX-Message-Id: abc\r\nContent-Length: 99\r\n\r\n", hang=True),
        answer(b"HTTP/1.1 202 Accepted\r\nX-Message-Id: abc\r\nTransfer-Encoding: chunked\r\n\r\nzz"),
    ],
    ids=["whole", "body cut", "body never comes", "body broken"],
)
def test_a_202_status_line_counts_whatever_comes_after(serve):
    assert over_the_wire(serve) == "abc"


def test_the_next_request_goes_over_the_same_connection():
    def serve(connection: socket.socket) -> None:
        for message_id in (b"one", b"two"):
            read_request(connection)
            connection.sendall(
                b"HTTP/1.1 202 Accepted\r\nX-Message-Id: " + message_id + b"\r\nContent-Length: 0\r\n\r\n"
            )

    with a_server(serve) as url:
        mailer = SendGridMailer(url, KEY, timeout=httpx.Timeout(2))
        assert [mailer.post(SAID), mailer.post(SAID)] == ["one", "two"]
        mailer.close()


@pytest.mark.parametrize(
    "serve",
    [
        no_answer,
        reset_after_reading,
        reset_before_reading,
        answer(b""),
        answer(b"HTTP/1.1 20"),
        answer(b"<html>bad gateway</html>"),
        answer(b"HTTP/1.1 500 Oops\r\nContent-Length: 99\r\n\r\ncut"),
        answer(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 99\r\n\r\ncut"),
    ],
    ids=["time-out", "RST after", "RST before", "FIN", "cut status line", "no status line", "cut 500", "cut 400"],
)
def test_without_a_whole_answer_nobody_knows(serve):
    with pytest.raises(AcceptanceUnknown):
        over_the_wire(serve)


def test_an_answer_that_drips_is_not_waited_for(monkeypatch):
    """No time-out ends it, since a byte always comes: a worker would hang for hours."""
    monkeypatch.setattr("uptake.adapters.sendgrid._LONGEST_READ", 0.3)

    def drip(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 1000\r\n\r\n")
        with suppress(OSError):
            for _ in range(400):
                connection.sendall(b"x")
                time.sleep(0.05)

    started = time.monotonic()
    with pytest.raises(AcceptanceUnknown, match="ReadTimeout"):
        over_the_wire(drip)
    assert time.monotonic() - started < 10


def test_of_a_long_refusal_no_more_is_read_than_anybody_needs():
    long = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 1000000000\r\n\r\n" + b"x" * 200_000

    def serve(connection: socket.socket) -> None:
        with suppress(OSError):  # nobody waits for the end of it
            answer(long, hang=True)(connection)

    with pytest.raises(MessageRefused):
        over_the_wire(serve)


def test_a_refused_connection_is_certain():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(MailerUnavailable) as error:
        SendGridMailer(f"http://127.0.0.1:{port}", KEY).post(SAID)
    assert error.value.retry_after is None


def test_no_proxy_of_the_environment_is_used(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    assert over_the_wire(answer(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")) is None
