"""What fakegrid accepted, durably: one fsynced line per recipient, and each request body once beside it."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
import threading
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from uptake.errors import SettingsError, UptakeError
from uptake.ports import Clock
from uptake.sandbox.fakegrid.mail import accepted_lines


class Tail:
    """Reads a growing file of JSON lines, each line once. A line without its newline is not there yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._count = 0

    def read_new(self) -> list[dict[str, Any]]:
        """Return the lines that were finished since the last call. Raises UptakeError on a damaged line."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                raw = file.read()
        except FileNotFoundError:
            return []
        whole = raw[: raw.rfind(b"\n") + 1]
        lines = [
            self._parse(number, line) for number, line in enumerate(whole.split(b"\n")[:-1], start=self._count + 1)
        ]
        self._offset += len(whole)
        self._count += len(lines)
        return lines

    def _parse(self, number: int, line: bytes) -> dict[str, Any]:
        try:
            parsed = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise UptakeError(f"{self._path}: line {number} is not JSON; the file is damaged") from error
        if not isinstance(parsed, dict):
            raise UptakeError(f"{self._path}: line {number} is no JSON object; the file is damaged")
        return parsed


class AppendLog:
    """Appends JSON lines so that a batch is on disk when `append` returns; a torn end is cut off on opening."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the kernel lets go of it at kill -9
        except BlockingIOError as error:
            os.close(self._file)
            raise SettingsError(f"{path} is written by another process; stop that one first") from error
        self._cut_torn_end()
        _fsync_folder(path.parent)

    def append(self, lines: list[dict[str, Any]]) -> None:
        """Write all lines and fsync once; on an error none of them stays."""
        end = os.fstat(self._file).st_size
        raw = memoryview(b"".join(orjson.dumps(line) + b"\n" for line in lines))
        try:
            while raw:
                raw = raw[os.write(self._file, raw) :]
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, end)
            raise

    def close(self) -> None:
        """Release the file."""
        os.close(self._file)

    def _cut_torn_end(self) -> None:
        raw = self._path.read_bytes()
        whole = raw.rfind(b"\n") + 1
        if whole != len(raw):
            os.ftruncate(self._file, whole)
            os.fsync(self._file)


class AcceptLog:
    """The truth about what was accepted, in `$UPTAKE_HOME/fakegrid/`."""

    def __init__(self, home: Path, clock: Clock) -> None:
        self._clock = clock
        self._requests = home / "fakegrid" / "requests"
        self._requests.mkdir(parents=True, exist_ok=True)
        self._log = AppendLog(accepted_path(home))
        self._lock = threading.Lock()
        lines = Tail(accepted_path(home)).read_new()
        self._message_ids = {line["message_id"] for line in lines}
        self._finish_last_request(lines)

    def accept(self, body: bytes, payload: Mapping[str, Any]) -> str:
        """Record a valid request for all its recipients and return its message id, of 22 characters.

        When this returns, the acceptance outlives kill -9 and power loss.
        """
        with self._lock:
            message_id = self._new_message_id(body)
            draft = self._requests / f".{message_id}.draft"
            draft.write_bytes(body)
            draft.replace(self._requests / f"{message_id}.json")
            accepted_at = self._clock.now().isoformat()
            self._log.append(accepted_lines(payload, message_id=message_id, accepted_at=accepted_at))
            self._message_ids.add(message_id)
        return message_id

    def close(self) -> None:
        """Release the log."""
        self._log.close()

    def _new_message_id(self, body: bytes) -> str:
        """The same body accepted for the k-th time always gets the same id: runs can be compared."""
        digest = hashlib.sha256(body)
        for repeat in range(len(self._message_ids) + 1):
            salted = digest.copy()
            salted.update(repeat.to_bytes(8))
            message_id = base64.urlsafe_b64encode(salted.digest()[:16]).decode().rstrip("=")
            if message_id not in self._message_ids:
                return message_id
        raise AssertionError("more message ids than accepted requests")

    def _finish_last_request(self, lines: list[dict[str, Any]]) -> None:
        """Complete a request that a kill cut between two lines: a request is accepted for all or for nobody."""
        if not lines or not (self._requests / f"{lines[-1]['message_id']}.json").exists():
            return
        last = lines[-1]
        whole = accepted_lines(
            read_request(self._requests, last["message_id"]),
            message_id=last["message_id"],
            accepted_at=last["accepted_at"],
        )
        written = Counter(line["message_id"] for line in lines)[last["message_id"]]
        if whole[written:]:
            self._log.append(whole[written:])


def accepted_path(home: Path) -> Path:
    """Return the accept log's path."""
    return home / "fakegrid" / "accepted.jsonl"


def posted_path(home: Path) -> Path:
    """Return the record of acknowledged events: key, message_id, to, event, at and a few fields."""
    return home / "fakegrid" / "posted.jsonl"


def erased_path(home: Path) -> Path:
    """Return the record of addresses whose data the account's owner had erased."""
    return home / "fakegrid" / "erased.jsonl"


def read_request(requests: Path, message_id: str) -> dict[str, Any]:
    """Return one accepted request body. Raises UptakeError when it is gone."""
    path = requests / f"{message_id}.json"
    try:
        payload: dict[str, Any] = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise UptakeError(f"{path}: cannot read the accepted request ({type(error).__name__})") from error
    return payload


def moment(line: Mapping[str, Any]) -> datetime:
    """Return when a line was accepted."""
    return datetime.fromisoformat(line["accepted_at"])


def _fsync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
