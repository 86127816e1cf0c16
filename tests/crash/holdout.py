"""T20: an arm depends on salt and account id only, whoever draws it, and nobody held out is ever mailed."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import scipy.stats

from tests.crash.outbox import KEYS, NOW
from tests.crash.small_world import TWO_STAGES, enter_all
from tests.operations.conftest import Town, build_release
from uptake.adapters.journeys.side import _MACROS
from uptake.adapters.ledger import open_ledger
from uptake.domain import arms
from uptake.domain.arms import Arm, arm_of, draw

SHARES = (0.05, 0.1, 0.3, 0.5)
SHARE = 0.3
GLOBAL_CONTROL = 0.05
LEAST_P = 0.001  # of a sample ratio that is still believed

#: Run by any Python from 3.11 on, which knows nothing but the module itself.
_ELSEWHERE = """
import hashlib, json, runpy, sys
arms, asked, found = runpy.run_path(sys.argv[1]), json.load(sys.stdin), hashlib.sha256()
draw, arm_of, salt, rules = arms["draw"], arms["arm_of"], asked["salt"], asked["rules"]
drawn = {one: (draw(salt, one).hex(), arm_of(one, **rules)) for one in {*asked["ids"]}}
for account_id in sorted(drawn):
    found.update("".join(drawn[account_id]).encode())
print(found.hexdigest())
"""


def ids(count: int, seed: int) -> list[str]:
    """Ids as vendors give them: numbers, names, UUIDs, with odd letters."""
    chance = random.Random(f"holdout:{seed}")
    kinds = (
        lambda number: f"acc-{number}",
        lambda number: str(seed * 10**9 + number),
        lambda _: f"{chance.getrandbits(128):032x}",
        lambda number: f"Müller & Söhne #{seed}:{number} 😀",
    )
    return sorted({kinds[number % len(kinds)](number) for number in range(count)})


def pythons() -> dict[str, str]:
    """Return version -> program of each Python on this machine that can read the module; this one, if no other."""
    found = {f"{sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}": sys.executable}
    places = [*Path.home().glob(".pyenv/versions/*/bin/python3"), *Path("/usr/bin").glob("python3*")]
    for path in sorted(places):
        if re.fullmatch(r"python3(\.\d+)?", path.name) is None:
            continue
        said = subprocess.run([path, "-V"], capture_output=True, text=True, check=False).stdout.split()
        if said[:1] == ["Python"] and tuple(map(int, said[1].split(".")[:2])) >= (3, 11):
            found.setdefault(said[1], str(path))
    return found


def digest_elsewhere(python: str, salt: str, accounts: Sequence[str], hash_seed: str) -> str:
    """Draw in another process, whose sets have another order."""
    rules = {"salt": salt, "holdout": SHARE, "global_control": GLOBAL_CONTROL}
    done = subprocess.run(
        [python, "-s", "-S", "-c", _ELSEWHERE, str(arms.__file__)],
        input=json.dumps({"ids": list(accounts), "salt": salt, "rules": rules}), capture_output=True, text=True,
        check=True, env={**os.environ, "PYTHONHASHSEED": hash_seed},
    )  # fmt: skip
    return done.stdout.strip()


def wrong_draws(accounts: Sequence[str], salt: str) -> list[str]:
    """What is wrong with the arms of these accounts, as processes, versions, DuckDB and statistics see them."""
    here = [(draw(salt, one), _arm(one, salt, SHARE)) for one in accounts]
    digest = hashlib.sha256()
    for _, (u, arm) in sorted(zip(accounts, here, strict=True)):
        digest.update((u.hex() + arm).encode())
    losses = [
        f"Python {version} with PYTHONHASHSEED={hash_seed} draws otherwise"
        for version, python in pythons().items()
        for hash_seed in (("0", "4711") if python == sys.executable else ("random",))
        if digest_elsewhere(python, salt, accounts, hash_seed) != digest.hexdigest()
    ]
    with duckdb.connect() as session:
        session.execute(_MACROS)
        session.register("accounts", pa.table({"account_id": list(accounts)}))
        query = "select draw($salt, account_id), arm_of($salt, account_id, $share, $control) from accounts"
        drawn = session.execute(query, {"salt": salt, "share": SHARE, "control": GLOBAL_CONTROL}).fetchall()
    losses += ["DuckDB draws otherwise"] if drawn != here else []
    before = [Arm.TREATMENT] * len(accounts)
    for share in SHARES:
        after = [_arm(one, salt, share) for one in accounts]
        moved = {(old, new) for old, new in zip(before, after, strict=True) if old is not new}
        if share > SHARES[0] and moved - {(Arm.TREATMENT, Arm.HOLDOUT)}:
            losses.append(f"a holdout of {share} moves somebody out of it")
        in_playbook = len(after) - after.count(Arm.GLOBAL_CONTROL)
        losses += _uneven(f"the holdout of {share}", after.count(Arm.HOLDOUT), in_playbook, share)
        before = after
    return losses + _uneven("the global control", before.count(Arm.GLOBAL_CONTROL), len(before), GLOBAL_CONTROL)


def _uneven(what: str, count: int, all_of: int, share: float) -> list[str]:
    expected = [all_of * share, all_of * (1 - share)]
    pvalue = float(scipy.stats.chisquare([count, all_of - count], expected).pvalue)
    return [f"{count} of {all_of} are in {what}: p = {pvalue:.2g}"] if pvalue <= LEAST_P else []


def wrong_in_ledger(url: str, accounts: Sequence[str]) -> list[str]:
    """What is wrong with assignments that a ledger keeps, closed and opened again, and asked for once more."""
    name = TWO_STAGES.name
    drawn: Mapping[str, str] = {one: _arm(one, name, SHARE).value for one in accounts}
    ledger = open_ledger(url, KEYS)
    enter_all(ledger, TWO_STAGES, drawn)
    ledger.close()
    again = open_ledger(url, KEYS)
    try:
        kept = {
            row["account_id"]: row["arm"]
            for row in again.enrollments.tables(now=NOW)["assignments"].to_pylist()
            if row["playbook"] == name
        }
    finally:
        again.close()
    return [] if kept == drawn else ["the ledger keeps other arms than were drawn"]


def mailed(folder: Path, seed: int, *, accounts: int, days: int) -> tuple[int, list[str]]:
    """Let a town live for some days with a growing holdout; return mails, and mails that nobody was to get."""
    town, losses = Town(folder), []
    try:
        town.settle(accounts, seed=seed, is_plain=True, prefix=f"s{seed}")
        for day in range(days):
            now = NOW.replace(day=NOW.day + day)
            share = SHARE if day < days // 2 else 0.5
            town.releases["alpha"] = build_release(
                holdout=f"{share:.0%}", workspace={"global_control": f"{GLOBAL_CONTROL:.0%}"}
            )
            town.publish(now, snapshot_id=f"day-{day}")
            if day in (0, days // 2):
                town.settle(accounts // 4, seed=seed, is_plain=True, prefix=f"s{seed}d{day}")
                town.publish(now, snapshot_id=f"day-{day}b")
                town.approve(now=now)
            town.tick(now)
            town.send(now)
        assigned = dict(town.rows("select account_id, arm from assignments"))
        mails = town.rows(
            "select enrollments.account_id from sends join enrollments using (enrollment_id) "
            "where sends.status not in ('planned', 'withheld')"
        )
        losses += [f"{one} is {assigned[one]} and was mailed" for (one,) in mails if assigned[one] != "treatment"]
        for account_id, arm in assigned.items():
            if arm not in (_arm(account_id, "alpha", SHARE), _arm(account_id, "alpha", 0.5)):
                losses.append(f"{account_id} is {arm}, which nobody drew")
        if set(assigned.values()) != {"treatment", "holdout", "global_control"}:
            losses.append(f"only {set(assigned.values())} were drawn")
    finally:
        town.ledger.close()
    return len(mails), losses


def _arm(account_id: str, salt: str, share: float) -> Arm:
    return arm_of(account_id, salt=salt, holdout=share, global_control=GLOBAL_CONTROL)
