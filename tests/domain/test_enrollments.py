from datetime import UTC, datetime, timedelta

import pytest

from uptake.domain.enrollments import (
    controls_complete_at,
    due_at,
    stage_orders,
    stratum,
    task_ended_at,
)
from uptake.domain.playbooks import Playbook

NOW = datetime(2026, 3, 3, 9, 0, tzinfo=UTC)


def test_due_counts_from_the_last_ended_stage_or_else_from_the_entry():
    day = timedelta(days=1)
    assert due_at(3 * day, enrolled_at=NOW) == NOW + 3 * day
    assert due_at(day, enrolled_at=NOW, ended_at=[NOW + 5 * day, NOW + 2 * day]) == NOW + 6 * day


def test_a_control_has_had_its_journey_when_a_treated_account_could_have():
    playbook = Playbook.model_validate(
        {
            "teaches": "dashboards",
            "topic": "training",
            "audience": {"where": "account.plan == 'team'"},
            "goal": {"within": "28d"},
            "holdout": "10%",
            "stages": {"why": {"email": "why.md", "after": "1d"}, "how": {"email": "how.md", "after": "12h"}},
        }
    )
    assert controls_complete_at(playbook, NOW) == NOW + timedelta(hours=36)


class FakeRelease:
    def __init__(self, name, stages):
        self.name = name
        self.playbook = type("P", (), {"stages": dict.fromkeys(stages)})


def test_stage_orders_are_of_one_playbook_the_newest_version_first():
    releases = {1: FakeRelease("p", "ab"), 3: FakeRelease("p", "ba"), 2: FakeRelease("q", "z")}
    assert stage_orders(releases, "p") == [["b", "a"], ["a", "b"]]


@pytest.mark.parametrize(
    ("plan", "seats", "expected"),
    [
        ("team", 1, "team/1-10"),
        ("team", 10, "team/1-10"),
        ("team", 11, "team/11-50"),
        ("business", 1_000, "business/201-1000"),
        ("business", 1_001, "business/1001+"),
        (None, None, "unknown/unknown"),
        ("", 3, "unknown/1-10"),
    ],
)
def test_a_stratum_is_plan_and_size(plan, seats, expected):
    assert stratum(plan, seats) == expected


def test_a_task_ends_when_it_is_closed_or_a_week_after_it_was_to_be_done():
    day = timedelta(days=1)
    due = NOW + 3 * day
    assert task_ended_at(NOW, due_at=due, closed_at=NOW + day) == NOW + day
    assert task_ended_at(NOW + 2 * day, due_at=due, closed_at=NOW + day) == NOW + 2 * day  # who came to it later
    assert task_ended_at(NOW, due_at=due, closed_at=None) == NOW + 10 * day
    assert task_ended_at(NOW, due_at=due, closed_at=NOW + 12 * day) == NOW + 10 * day  # it had gone on without it
