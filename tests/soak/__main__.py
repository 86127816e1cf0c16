"""`make soak`: the kill test as often as you have time for. Every world is killed with -9 at random until it ends.

Resumable: finished worlds stand in var/soak/kills.jsonl, one line each, and are not run again. GOAL=n sets how many.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.end_to_end.test_demo_is_killed import accepted, start

RESULTS = Path("var") / "soak" / "kills.jsonl"
GOAL = int(os.environ.get("GOAL", "20"))  # worlds
LONGEST = 25.0  # seconds a process lives at most before it is killed


def main() -> None:
    """Run the worlds that are missing and print what all of them came to."""
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    done = [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []
    for seed in range(len(done), GOAL):
        done.append(_world(seed))
        with RESULTS.open("a") as results:
            results.write(json.dumps(done[-1]) + "\n")
        print(f"world {seed}: {done[-1]}", flush=True)  # noqa: T201
    total = {name: sum(world[name] for world in done) for name in ("kills", "mails", "duplicates", "losses")}
    print(f"{len(done)} worlds: {total}")  # noqa: T201
    if total["duplicates"] or total["losses"]:
        raise SystemExit(1)


def _world(seed: int) -> dict[str, int]:
    chance = random.Random(seed)
    folder = Path(tempfile.mkdtemp(prefix="uptake-soak-"))
    home = folder / "demo"
    kills = 0
    try:
        while True:
            process = start(home)
            deadline = time.monotonic() + chance.uniform(1, LONGEST) * (1 + kills / 10)  # later lives last longer
            while process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.01)
            if process.poll() is None:
                process.kill()
                process.communicate()
                kills += 1
                continue
            output, _ = process.communicate()
            if process.returncode:
                raise SystemExit(f"world {seed} ended with {process.returncode}:\n{output[-3_000:]}")
            break
        log = Counter(line["send_id"] for line in accepted(home))
        with sqlite3.connect(f"file:{home / 'ledger.sqlite3'}?mode=ro", uri=True) as ledger:
            sends = dict(ledger.execute("select send_id, status from sends").fetchall())
        taken = {
            send_id for send_id, status in sends.items() if status in ("accepted", "delivered", "bounced", "dropped")
        }
        lost = (taken - set(log)) | (set(log) - set(sends))
        lost |= {send_id for send_id, status in sends.items() if status in ("claimed", "sending")}
        return {
            "seed": seed,
            "kills": kills,
            "mails": len(log),
            "duplicates": sum(count - 1 for count in log.values()),
            "losses": len(lost),
        }
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
