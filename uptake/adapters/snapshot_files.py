"""The folders of published snapshots on disk: read under a shared lock, removed whole, whenever it is killed.

Who removes a snapshot holds its lock alone for as long as it takes to rename it. What is renamed is no snapshot any
more; its files can go in any order, also in a later run.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

_REMOVED = ".removed"


def begin_reading(directory: Path) -> int:
    """Keep a snapshot's folder from being removed until the returned handle is closed. Raises OSError."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH)
    except OSError:
        os.close(handle)
        raise
    return handle


def remove(root: Path, snapshot_ids: Iterable[str]) -> list[str]:
    """Remove snapshots of the store at `root`, and every object that none shares any more; return which ones went.

    One that somebody reads stays. Only one process may remove at a time. Raises OSError.
    """
    removed = root / _REMOVED
    removed.mkdir(exist_ok=True)
    gone = []
    for snapshot_id in snapshot_ids:
        handle = _begin_removing(root / snapshot_id)
        if handle is not None:
            try:
                (root / snapshot_id).rename(removed / snapshot_id)
            finally:
                os.close(handle)
            gone.append(snapshot_id)
    # The new names must be on disk before any file goes: a power cut in between would leave half a snapshot.
    sync(removed)
    sync(root)
    finish_removal(root)
    for stored in (root / "objects").iterdir():
        if stored.stat().st_nlink == 1:  # no snapshot has a hard link to it
            stored.unlink()
    return gone


def finish_removal(root: Path) -> None:
    """Delete what was taken out of the store already; a removal that was killed has left it."""
    shutil.rmtree(root / _REMOVED, ignore_errors=True)


def sync(path: Path) -> None:
    """Make a file's content, or a folder's entries, survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _begin_removing(directory: Path) -> int | None:
    """Keep new readers waiting; None when somebody reads it already."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle
