"""T13: each run gives the ledger a little more space: in pages, then (where one can be mounted) on a small disk."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.crash.disk_full import small_disk, with_kilobytes, with_pages
from tests.crash.outbox import prepared
from tests.soak.one import Runs, Soak


@contextmanager
def opened() -> Runs:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="uptake-soak-")))
        disk = stack.enter_context(small_disk(folder / "small", megabytes=3))

        def run(number: int) -> Mapping[str, object]:
            chance, home = random.Random(number), folder / f"home-{number}"
            home.mkdir()
            planned = prepared(folder, chance.choice((12, 30, 60)))
            try:
                if disk is None or number % 2 == 0:
                    level = f"{number // 2 % 12} pages"
                    found = with_pages(planned, home, pages=number // 2 % 12)
                else:
                    kilobytes = chance.randrange(48)
                    level, found = f"{kilobytes} kB", with_kilobytes(planned, home, disk, kilobytes=kilobytes)
            finally:
                shutil.rmtree(home)
                for file in disk.iterdir() if disk is not None else ():
                    file.unlink() if file.is_file() else shutil.rmtree(file)
            return {
                "run": number, "level": level, "disks": int(found.was_full), "mails": found.accepted,
                "before": found.accepted_before, "held": found.held, "duplicates": found.duplicates,
                "losses": len(found.losses), "lost": list(found.losses)[:5],
            }  # fmt: skip

        yield run


SOAK = Soak(
    what="the disk is full, at many levels, while mails leave and events come in, and has space again later",
    goal=400,
    counts="disks",
    open=opened,
)
