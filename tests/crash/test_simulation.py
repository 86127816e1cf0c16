"""T3: hundreds of small worlds from seeds, under every fault, in one thread. `make soak` lives through more of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from unittest import mock

import pytest

from tests.crash.simulation import simulations
from tests.crash.wire import EVERY_FAULT
from uptake.adapters.ledger.sends import SqlSends

SEEDS = int(os.environ.get("UPTAKE_SEEDS", "60"))
MOST_WORLDS = 100  # of a broken engine; each of those below is seen in two of them at least


@pytest.fixture(scope="module")
def every(tmp_path_factory):
    with simulations(tmp_path_factory.mktemp("simulations")) as found:
        yield found


@pytest.fixture(scope="module")
def lived(every):
    return [every.live(seed) for seed in range(SEEDS)]


def test_no_order_of_things_doubles_a_mail_or_breaks_a_promise(lived):
    assert {one.seed: (one.duplicates, one.losses) for one in lived if one.duplicates or one.losses} == {}


def test_the_worlds_have_everything_in_them(lived):
    """A world where nothing happens proves nothing."""
    faults: Counter[str] = sum((one.faults for one in lived), Counter())
    assert len(faults) > 0.75 * len(EVERY_FAULT)
    assert sum(one.kills for one in lived) > len(lived)
    assert sum(one.mails for one in lived) > 2 * len(lived)
    assert any(one.held for one in lived)


def test_a_seed_replays_to_the_byte(every, lived):
    """Here, and in another process whose sets have another order."""
    assert every.live(7) == lived[7]
    command = [sys.executable, "-m", "tests.crash.simulation", "7"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONHASHSEED": "1"}
    )
    assert lived[7].digest in done.stdout
    assert every.live(8).digest != lived[7].digest


@pytest.mark.parametrize(
    ("broken", "by", "found"),
    [
        ("uptake.adapters.ledger.sends.SqlSends.unknown", lambda self, send_ids, *, detail, now, owner=None:
            SqlSends.put_back(self, send_ids, now=now, owner=owner), "twice"),
        ("uptake.adapters.ledger.intent._ending", lambda *_args: None, "left after"),
        ("uptake.adapters.ledger.intent._is_paused", lambda *_args: False, "pause"),
        ("uptake.adapters.ledger.delivery._fold_rows", lambda *_args: [], "was accepted and is"),
    ],
    ids=["what is unknown is tried again", "nobody looks before a request", "a pause is not looked at",
         "events are not folded"],
)  # fmt: skip
def test_the_oracle_sees_a_broken_engine(every, broken, by, found):
    with mock.patch(broken, by):
        for seed in range(MOST_WORLDS):
            outcome = every.live(seed)
            if (found == "twice" and outcome.duplicates) or any(found in text for text in outcome.losses):
                return
    pytest.fail(f"{MOST_WORLDS} worlds, and nobody saw it")
