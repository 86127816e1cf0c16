"""A look at the past as text."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from tests.summaries.hostile import HOSTILE, check_is_data
from uptake.operations.backtest import Backtest, CapHit, Day, Lived, Overlap
from uptake.summaries.backtest import backtest_summary


def test_a_look_at_the_past_shows_each_day_and_every_reason() -> None:
    day = Day(date(2026, 3, 3), HOSTILE)
    day.entered.update({"treatment": 9, "holdout": 2, "global_control": 1})
    day.decided.update({"send": 5, "task": 1, "retry:capped_person": 2, "retry:outside_window": 4, "end:left": 1})
    lived = Lived(
        playbook=HOSTILE, release_hash="r", days=[day, Day(date(2026, 3, 5), "s2")], entered=day.entered,
        decided=day.decided, left_out={"re_entry": 7},
    )  # fmt: skip
    other = replace(lived, playbook="beta", days=[], entered={}, decided={"account_end:goal_reached": 3})
    found = Backtest(
        first=date(2026, 3, 3), last=date(2026, 3, 5), missing=[date(2026, 3, 4)], playbooks=[lived, other],
        overlaps=[Overlap(playbooks=(HOSTILE, "beta"), contacts=6, won={HOSTILE: 4, "beta": 1})],
        caps=[CapHit(cap="person", playbook=HOSTILE, contacts=2, days=1)],
    )  # fmt: skip
    text = backtest_summary(found)
    check_is_data(text)
    for said in (
        "**Days without a snapshot**, on which nothing could be seen: 2026-03-04.",
        "| 9 | 3 | 5 | 1 | 6 | 0 |",  # of the playbook
        "| 9 | 3 | 5 | 1 | 6 |\n",  # of its day
        "| beta | 0 | 0 | 0 | 0 | 0 | 3 |",
        "| beta | 6 | 4 | 1 |",
        "| not now | capped person | 2 |",
        "| entered before | 7 |",
    ):
        assert said in text
    empty = replace(lived, entered={}, decided={})
    assert "Nobody entered." in backtest_summary(replace(found, playbooks=[empty]))
    alone = backtest_summary(replace(found, playbooks=[lived], overlaps=[], caps=[], missing=[]))
    assert "Overlaps" not in alone
    assert "No cap was hit." in alone
