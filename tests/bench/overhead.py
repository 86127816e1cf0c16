"""What a refresh costs on next to no data: build, gate, snapshot, people, ledger and data docs, against a bare
`dbt build` of the same project and log, without the unit tests, which a refresh does not run either. The target is for
two commands from cold; the same two, many in a row in one process, are shown beside it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import duckdb

from tests.bench.build import answer
from tests.bench.dbt import dbt, dbt_command, environment
from tests.bench.harness import ROUNDS, Measured, Result, alternate, apart, bound, here, say
from tests.bench.usage import LAST_DAY, Log, moment, write

LOG = Log(events=100, days=60, users=20, accounts=5, compressed=False)
TARGET = 1.5

_AS_OF = moment(LAST_DAY).replace(microsecond=0)
_BUILD = ("build", "--exclude-resource-type", "unit_test")


def run(scratch: Path) -> list[Result]:
    """Measure a refresh of a tiny log."""
    folder = scratch / "tiny"
    if not folder.exists():
        write(LOG, folder)
    homes = scratch / "bare", scratch / "whole"
    for home in homes:
        home.mkdir(exist_ok=True)
    apart(bound(_cold_floor, folder, homes[0]))  # what is parsed and made once for all is there afterwards
    apart(bound(_cold_ours, folder, homes[1]))
    cold = alternate(
        bound(_cold_floor, folder, homes[0]), bound(_cold_ours, folder, homes[1]), rounds=ROUNDS, told="overhead, cold"
    )
    warm = apart(bound(_warm, folder, *homes)).answer
    return [
        _result("`uptake refresh`", "the command `dbt build`", cold, TARGET),
        _result("a refresh in a warm process", "`dbt build` in it", warm, None),
    ]


def _result(work: str, against: str, runs: tuple[Measured, Measured], target: float | None) -> Result:
    floor, ours = runs
    return Result(work=work, size=str(LOG), against=against, floor=floor.cpu, ours=ours.cpu, target=target)


def _cold_floor(folder: Path, home: Path) -> object:
    dbt_command(_BUILD, raw=folder, home=home, as_of=_AS_OF)
    return _marts(home)


def _cold_ours(folder: Path, home: Path) -> object:
    start = [sys.executable, "-m", "uptake", "refresh", "--raw", str(folder), "--as-of", f"{_AS_OF:%Y-%m-%dT%H:%M:%S}"]
    settings = environment(raw=folder, home=home, as_of=_AS_OF)
    done = subprocess.run([*start, "--json"], env={**os.environ, **settings}, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"refresh came to {done.returncode}: {(done.stdout + done.stderr)[-2000:]}")
    return _marts(home)


def _warm(folder: Path, bare: Path, whole: Path) -> tuple[Measured, Measured]:
    """Run both in turns in this process, after one run each that imports and parses."""
    from uptake.bootstrap import open_uptake

    uptake = open_uptake(home=whole, raw=folder)

    def floor() -> object:
        dbt(_BUILD, raw=folder, home=bare, as_of=_AS_OF)
        return _marts(bare)

    def ours() -> object:
        result = uptake.refresh(as_of=_AS_OF)
        assert result.gate == "passed", result.reasons
        return _marts(whole)

    say("overhead, warm: once without a clock")
    floor()
    ours()
    return alternate(floor, ours, rounds=ROUNDS, told="overhead, warm", measure=here)


def _marts(home: Path) -> object:
    with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as session:
        return answer(session, "marts")
