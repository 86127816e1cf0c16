"""T13: the disk fills up under the ledger while mails are sent and events come in, and has space again later.

Either SQLite may use so many pages more and none beyond, or the whole home lies on a small file system that is full.
"""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from tests.crash.outbox import NOW, Outbox, copy_ledger, judge, load_people, serving
from tests.crash.public import post_event, unsubscribe
from uptake.adapters.ledger.schema import sends
from uptake.errors import LedgerError
from uptake.sandbox.fakegrid.accept_log import Tail, accepted_path
from uptake.sandbox.fakegrid.signing import signing_key
from uptake.testing import FixedClock

_READERS = ("reader-0", "reader-1")  # they get nothing, and unsubscribe
_PADDING = 6_000  # bytes of an event: more than a page


@dataclass(frozen=True, kw_only=True)
class Full:
    """What one fill level came to."""

    was_full: bool
    accepted_before: int  # with what space there was
    accepted: int
    held: int
    duplicates: int
    losses: tuple[str, ...]
    errors: tuple[str, ...]


def with_pages(planned: Path, home: Path, *, pages: int) -> Full:
    """Let the ledger's file grow by so many pages and no more."""
    with _opened(planned, home, home) as outbox:
        engine = outbox.ledger._store._engine
        with engine.connect() as connection:
            limit = connection.exec_driver_sql("pragma page_count").scalar_one() + pages
        engine.dispose()

        def keep_small(connection: Any, _record: object) -> None:
            connection.execute(f"pragma max_page_count = {limit}")

        def widen() -> None:
            event.remove(engine, "connect", keep_small)
            engine.dispose()

        event.listen(engine, "connect", keep_small)
        return _live(outbox, home, widen)


def with_kilobytes(planned: Path, home: Path, small: Path, *, kilobytes: int) -> Full:
    """Leave so much space on the small file system that the ledger and the witness lie on."""
    with _opened(planned, home, small) as outbox:
        signing_key(small)  # the mail service's, not ours
        filler = small / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(b"x" * 4_096):
                pass
        os.truncate(filler, max(0, filler.stat().st_size - 1_024 * kilobytes))
        return _live(outbox, home, filler.unlink)


@contextmanager
def _opened(planned: Path, home: Path, own: Path) -> Iterator[Outbox]:
    """Open an outbox whose files lie in `own`, and a mail service whose files lie in `home`."""
    clock = FixedClock(NOW)
    with serving(home, clock) as server:
        outbox = Outbox(copy_ledger(planned, own), own, server.url, clock)
        load_people(outbox.ledger, _READERS, now=NOW)
        try:
            yield outbox
        finally:
            outbox.close()


@contextmanager
def small_disk(folder: Path, *, megabytes: int) -> Iterator[Path | None]:
    """Mount a small file system; None where that is not allowed."""
    folder.mkdir()
    options = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    is_mounted = subprocess.run(options, capture_output=True, check=False).returncode == 0
    try:
        yield folder if is_mounted else None
    finally:
        if is_mounted:
            subprocess.run(["umount", str(folder)], check=True, capture_output=True)


def _live(outbox: Outbox, home: Path, widen: Callable[[], None]) -> Full:
    """Send and hear while there is little space, then with enough; judge."""
    errors, lost, answers = [], [], []
    for _ in range(3):  # as a schedule goes on
        try:
            if stopped := outbox.send(batch_size=2).stopped:
                errors.append(stopped)
        except LedgerError as error:
            errors.append(str(error))
        answers += [post_event(outbox, padding=_PADDING), unsubscribe(outbox, _READERS[0])]
    before, intended = Tail(accepted_path(home)).read_new(), _intended(outbox)
    lost += [f"{line['send_id']} left without an intent" for line in before if line["send_id"] not in intended]
    lost += [f"the web answered {answer}" for answer in answers if answer not in (200, 204, 503)]
    if (stored := len(outbox.ledger.delivery.unfolded(100))) != answers.count(204):
        lost.append(f"{answers.count(204)} bodies acknowledged, {stored} stored")
    widen()
    with_space = (post_event(outbox, padding=_PADDING), unsubscribe(outbox, _READERS[1]))
    lost += [f"with space, the web answered {with_space}"] if with_space != (204, 200) else []
    outbox.drain()
    outbox.settle()
    found, left = judge(home, outbox.statuses()), Counter(outbox.statuses().values())
    lost += [f"{count} left {status}" for status, count in left.items() if status in ("planned", "unknown", "sending")]
    return Full(
        was_full=bool(errors) or 503 in answers, accepted_before=len(before), accepted=found.accepted,
        held=left["held"], duplicates=found.duplicates, losses=(*found.losses, *lost, *_damage(outbox)),
        errors=tuple(errors),
    )  # fmt: skip


def _intended(outbox: Outbox) -> set[str]:
    with outbox.ledger._store.read() as connection:
        return set(connection.scalars(sa.select(sends.c.send_id).where(sends.c.sending_at.is_not(None))))


def _damage(outbox: Outbox) -> list[str]:
    """Say what SQLite itself finds wrong."""
    with outbox.ledger._store.read() as connection:
        whole = connection.exec_driver_sql("pragma quick_check").scalars().all()
        foreign = connection.exec_driver_sql("pragma foreign_key_check").all()
    return [
        *(f"damaged: {line}" for line in whole if line != "ok"),
        *(f"a row refers to nothing: {r}" for r in foreign),
    ]
