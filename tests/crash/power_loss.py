"""T14: what is left of a SQLite ledger when the power fails: only what was synced, and any part of what was not.

SQLite's own file calls are recorded as they happen: a hook is put into the table of methods of each file it opens.
From the record any crash can be made: everything up to a file's last sync is on the disk; of the writes after it some
are there, some are not, and one is torn. Sectors are whole, as SQLite expects of a disk.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import hashlib
import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.crash.outbox import NOW, Outbox, copy_ledger, load_people, serving
from tests.crash.public import post_event, unsubscribe
from uptake.testing import FixedClock

SECTOR = 512

_POINTER, _INT, _INT64 = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64
#: Paths stay pointers: SQLite keeps the very one it was given.
_OPEN = ctypes.CFUNCTYPE(_INT, _POINTER, _POINTER, _POINTER, _INT, _POINTER)
_DELETE = ctypes.CFUNCTYPE(_INT, _POINTER, _POINTER, _INT)
_WRITE = ctypes.CFUNCTYPE(_INT, _POINTER, _POINTER, _INT, _INT64)
_TRUNCATE = ctypes.CFUNCTYPE(_INT, _POINTER, _INT64)
_SYNC = ctypes.CFUNCTYPE(_INT, _POINTER, _INT)
#: Places in `sqlite3_vfs` and `sqlite3_io_methods` (sqlite3.h): pointers of eight bytes each.
_VFS_NEXT, _VFS_NAME, _VFS_OPEN, _VFS_DELETE, _VFS_SIZE = 2, 3, 5, 6, 21
_IO_WRITE, _IO_TRUNCATE, _IO_SYNC, _IO_SIZE = 3, 4, 5, 19


@dataclass(frozen=True)
class Call:
    """One call that changes a file: `write`, `truncate`, `sync` or `delete`; `mark` is what a test noted between."""

    kind: str
    file: str
    offset: int = 0
    data: bytes = b""


@dataclass
class Recording:
    """All calls on the files of one folder, in order, and how the files were before."""

    folder: Path
    before: dict[str, bytes] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)

    def mark(self, text: str) -> None:
        """Note that something was acknowledged: it must outlive any later loss of power."""
        self.calls.append(Call("mark", text))

    def crash(self, at: int, chance: random.Random) -> dict[str, bytes]:
        """Return the files as they might be found after the power failed just before call `at`."""
        done = self.calls[:at]
        files = {name: bytearray(content) for name, content in self.before.items()}
        synced = {call.file: index for index, call in enumerate(done) if call.kind == "sync"}
        for index, call in enumerate(done):
            is_safe = index < synced.get(call.file, -1)
            if call.kind == "delete":
                # File systems keep what they do to folders in order: any later sync takes this along.
                if index < max(synced.values(), default=-1) or chance.random() < 0.5:
                    files.pop(call.file, None)
            elif call.kind in ("write", "truncate") and (is_safe or chance.random() < 0.6):
                _apply(files.setdefault(call.file, bytearray()), call, None if is_safe else chance)
        return {name: bytes(content) for name, content in files.items()}


def _apply(content: bytearray, call: Call, chance: random.Random | None) -> None:
    if call.kind == "truncate":
        del content[call.offset :]
        return
    data = call.data
    if chance is not None and len(data) > SECTOR and chance.random() < 0.5:  # torn: a part of its sectors
        start = chance.randrange(0, len(data), SECTOR)
        data, offset = data[start:] if chance.random() < 0.5 else data[:start], call.offset
        offset += start if data and data == call.data[start:] else 0
    else:
        offset = call.offset
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


@contextmanager
def recording(folder: Path) -> Iterator[Recording]:
    """Record what SQLite does to the files of a folder, by any connection opened from now on."""
    found = Recording(folder, before={path.name: path.read_bytes() for path in folder.glob("*.sqlite3*")})
    hook = _Hook(found)
    try:
        yield found
    finally:
        hook.remove()


class _Hook:
    """A default VFS that does what the one before does, and tells the recording."""

    def __init__(self, found: Recording) -> None:
        self._found = found
        self._library = ctypes.CDLL(ctypes.util.find_library("sqlite3"))
        self._library.sqlite3_vfs_find.restype = _POINTER
        base = self._library.sqlite3_vfs_find(None)
        assert base is not None
        self._vfs = (_POINTER * _VFS_SIZE).from_buffer_copy(ctypes.string_at(base, 8 * _VFS_SIZE))
        self._base_open = _OPEN(self._vfs[_VFS_OPEN])
        self._base_delete = _DELETE(self._vfs[_VFS_DELETE])
        self._open, self._delete = _OPEN(self._opened), _DELETE(self._deleted)
        self._name = ctypes.create_string_buffer(b"recording")
        self._vfs[_VFS_NEXT] = None
        self._vfs[_VFS_NAME] = ctypes.addressof(self._name)
        self._vfs[_VFS_OPEN] = ctypes.cast(self._open, _POINTER).value
        self._vfs[_VFS_DELETE] = ctypes.cast(self._delete, _POINTER).value
        self._kept: list[Any] = []  # what C still points at
        self._names: dict[int, str] = {}
        assert self._library.sqlite3_vfs_register(ctypes.byref(self._vfs), 1) == 0

    def remove(self) -> None:
        """Let the VFS before be the default again. The connections of the recording are closed by now."""
        self._library.sqlite3_vfs_unregister(ctypes.byref(self._vfs))

    def _opened(self, vfs: int, path: int | None, file: int, flags: int, out: int) -> int:
        code = int(self._base_open(vfs, path, file, flags, out))
        if code == 0 and path is not None and (name := self._ours(path)):
            self._names[file] = name
            slot = ctypes.cast(file, ctypes.POINTER(_POINTER))
            methods = (_POINTER * _IO_SIZE).from_buffer_copy(ctypes.string_at(slot[0], 8 * _IO_SIZE))
            write, truncate, sync = (
                kind(methods[place])
                for kind, place in ((_WRITE, _IO_WRITE), (_TRUNCATE, _IO_TRUNCATE), (_SYNC, _IO_SYNC))
            )

            def on_write(file: int, data: int, size: int, offset: int) -> int:
                self._tell(Call("write", self._names[file], offset, ctypes.string_at(data, size)))
                return int(write(file, data, size, offset))

            def on_truncate(file: int, size: int) -> int:
                self._tell(Call("truncate", self._names[file], size))
                return int(truncate(file, size))

            def on_sync(file: int, flags: int) -> int:
                code = int(sync(file, flags))
                self._tell(Call("sync", self._names[file]))
                return code

            hooks = (_WRITE(on_write), _TRUNCATE(on_truncate), _SYNC(on_sync))
            for place, hook in zip((_IO_WRITE, _IO_TRUNCATE, _IO_SYNC), hooks, strict=True):
                methods[place] = ctypes.cast(hook, _POINTER).value
            slot[0] = ctypes.addressof(methods)
            self._kept += [methods, hooks, write, truncate, sync]
        return code

    def _deleted(self, vfs: int, path: int, sync_folder: int) -> int:
        code = int(self._base_delete(vfs, path, sync_folder))
        if code == 0 and (name := self._ours(path)):
            self._tell(Call("delete", name))
        return code

    def _ours(self, path: int) -> str | None:
        """Return the name of a file in the recorded folder."""
        found = Path(ctypes.string_at(path).decode())
        return found.name if found.parent == self._found.folder else None

    def _tell(self, call: Call) -> None:
        self._found.calls.append(call)


@dataclass(frozen=True, kw_only=True)
class Lived:
    """A recorded life of a ledger, and the state that each of its commits left."""

    recording: Recording
    states: tuple[str, ...]  # the first one is how it began


def live(planned: Path, home: Path) -> Lived:
    """Send mails, hear of them and let somebody unsubscribe, while SQLite's calls are recorded."""
    clock = FixedClock(NOW)
    with serving(home, clock) as server:
        url = copy_ledger(planned, home)
        path = home / "ledger.sqlite3"
        with sqlite3.connect(path) as connection:
            connection.execute("pragma journal_mode = delete")  # as if this were its first opening
        connection.close()
        states = [_digest(path)]
        with recording(home) as found:
            outbox = Outbox(url, home, server.url, clock)
            store: Any = outbox.ledger._store
            store.write = _noting(store.write, lambda: (states.append(_digest(path)), found.mark("commit")))
            load_people(outbox.ledger, ["reader-0"], now=NOW)
            outbox.send(batch_size=3)
            assert (post_event(outbox), unsubscribe(outbox, "reader-0")) == (204, 200)
            clock.moment += timedelta(minutes=31)
            outbox.reconcile()
            outbox.close()
    return Lived(recording=found, states=tuple(states))


def lose_power(lived: Lived, folder: Path, *, seed: int) -> str | None:
    """Let the power fail at a random moment; return what is wrong with what is found then, or None."""
    chance = random.Random(seed)
    at = chance.randrange(len(lived.recording.calls) + 1)
    folder.mkdir()
    for name, content in lived.recording.crash(at, chance).items():
        (folder / name).write_bytes(content)
    try:
        found = _digest(folder / "ledger.sqlite3")
    except sqlite3.DatabaseError as error:
        return f"before call {at}: {error}"
    commit = max((number for number, state in enumerate(lived.states) if state == found), default=None)
    acknowledged = sum(call.kind == "mark" for call in lived.recording.calls[:at])
    if commit is None:
        return f"before call {at}: no state that a commit has left"
    if commit < acknowledged:
        return f"before call {at}: {acknowledged} commits were acknowledged, the state is that of number {commit}"
    return None


def _noting(transaction: Any, note: Callable[[], object]) -> Any:
    @contextmanager
    def noted() -> Iterator[object]:
        with transaction() as connection:
            yield connection
        note()

    return noted


def _digest(path: Path) -> str:
    """Let SQLite recover a file, and return a hash of all it holds."""
    connection = sqlite3.connect(path)
    try:
        damage = connection.execute("pragma quick_check").fetchall()
        if damage != [("ok",)]:
            raise sqlite3.DatabaseError(f"damaged: {damage[:2]}")
        return hashlib.sha256("\n".join(connection.iterdump()).encode()).hexdigest()
    finally:
        connection.close()
