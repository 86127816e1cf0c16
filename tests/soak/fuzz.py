"""T17: each run bends ten thousand inputs of seven kinds; lines are read as two sources stage them, too."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.crash.fuzz import OF_A_THOUSAND, ROOT, Fuzz, log_file
from tests.soak.one import Runs, Soak
from uptake.adapters.log_profile_dbt import DbtStagedEvents

THOUSANDS = 10
SHARED_DATA = Path(os.environ.get("UPTAKE_SHARED_DATA", ROOT.parent / "shared" / "data"))


@contextmanager
def opened() -> Runs:
    with tempfile.TemporaryDirectory(prefix="uptake-soak-") as name:
        folder = Path(name)
        stage, staged = DbtStagedEvents(project=ROOT / "dbt_project", home=folder / "home"), {}
        for source in ("uptake", "gharchive"):
            log_file(folder, source).write_text("{}\n")  # a file that is not there is no part of the query
            staged[source] = stage(source, folder / f"raw-{source}")
        fuzz = Fuzz(folder, SHARED_DATA, staged)

        def run(number: int) -> Mapping[str, object]:
            found = fuzz.run(number, {kind: THOUSANDS * count for kind, count in OF_A_THOUSAND.items()})
            return {
                "run": number, "inputs": found.inputs, "duplicates": 0, "losses": len(found.losses),
                "lost": found.losses[:5],
            }  # fmt: skip

        yield run
        fuzz.close()


SOAK = Soak(
    what="playbooks, mappings, conditions, log lines, webhook bodies, tokens and forms, bent from real ones; a loss: "
    "an error that is not ours, a 500, a hang over 1 s of CPU, memory that grows, a line or body that is not counted",
    goal=100,
    counts="inputs",
    open=opened,
)
