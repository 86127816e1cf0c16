"""T18: each run writes fifty names made of hostile pieces through every template and medium."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from random import Random

from tests.adapters.hostile_names import PIECES, Mediums, a_name
from tests.soak.one import Runs, Soak

NAMES = 50


@contextmanager
def opened() -> Runs:
    with tempfile.TemporaryDirectory(prefix="uptake-soak-") as folder:
        mediums = Mediums(Path(folder))

        def run(number: int) -> Mapping[str, object]:
            draw, lost = Random(number), []
            for _ in range(NAMES):
                name = a_name(draw)
                try:
                    mediums.check(name, with_charts=False)
                except AssertionError as error:
                    lost.append(f"{name!a}: {str(error)[:200]}")
            return {"run": number, "names": NAMES, "duplicates": 0, "losses": len(lost), "lost": lost}

        yield run


SOAK = Soak(
    what=f"names of {len(PIECES)} hostile pieces, in every template and medium; a loss: one is more than a name",
    goal=100,
    counts="names",
    open=opened,
)
