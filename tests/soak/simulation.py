"""T3: each run lives through a batch of seeds of the simulation."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.crash.simulation import simulations
from tests.soak.one import Runs, Soak

SEEDS = 50  # in a run


@contextmanager
def opened() -> Runs:
    with tempfile.TemporaryDirectory(prefix="uptake-soak-") as name, simulations(Path(name)) as every:

        def run(number: int) -> Mapping[str, object]:
            logging.disable(logging.CRITICAL)
            lived = [every.live(seed) for seed in range(number * SEEDS, (number + 1) * SEEDS)]
            broken = [one for one in lived if one.duplicates or one.losses]
            return {
                "run": number, "seeds": len(lived), "mails": sum(one.mails for one in lived),
                "kills": sum(one.kills for one in lived), "steps": sum(one.steps for one in lived),
                "faults": sum(one.faults.total() for one in lived), "held": sum(one.held for one in lived),
                "duplicates": sum(one.duplicates for one in lived), "losses": sum(len(one.losses) for one in lived),
                "lost": [[one.seed, *one.losses[:3]] for one in broken][:20],
            }  # fmt: skip

        yield run


SOAK = Soak(
    what="simulated worlds of 2-6 workers under every fault, interleaved by a seed in one thread",
    goal=2_000,
    counts="seeds",
    open=opened,
)
