"""A person may let one held snapshot pass, in the open; never what nobody could look at, and never age."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import duckdb
import pytest

from tests.gate.conftest import AS_OF, NOW, World, build_of, write_warehouse
from uptake.errors import Refused, SnapshotError
from uptake.operations.override import Overridden, override
from uptake.operations.refresh import RefreshResult
from uptake.operations.status import Status
from uptake.ports import Build
from uptake.summaries.plan import plan_summary
from uptake.summaries.refresh import override_summary, refresh_summary
from uptake.summaries.status import status_summary

pytestmark = pytest.mark.slow

HALF = "delete from marts.feature_recommendations"
WHY = "Recommendations are rebuilt on Mondays"


def let_pass(world: World, snapshot_id: str | None, **changed: Any) -> Overridden:
    arguments = {"by": "Grace", "reason": WHY, "now": NOW, **changed}
    return override(
        world.snapshots,
        world.ledger,
        snapshot_id=str(snapshot_id),
        people=lambda: world.people(world.home),
        **arguments,
    )


def test_a_held_snapshot_is_let_pass_by_name_and_everything_says_so(world: World, spoil: Callable[..., Build]) -> None:
    result = world.refresh(spoil(HALF))
    assert result.gate == "held"
    assert f"uptake override {result.held_snapshot_id} --by NAME --reason WHY" in refresh_summary(result)
    assert world.tick()[1] == 0

    passed = let_pass(world, result.held_snapshot_id)
    assert [check.name for check in passed.checks] == ["gate:rows:feature_recommendations"]
    current = world.snapshots.current()
    assert current is not None
    assert current.snapshot_id == result.held_snapshot_id
    shown = override_summary(replace(passed, reason="<b>merged</b> | on *purpose*"))
    assert "By Grace: \\<b\\>merged\\</b\\> \\| on \\*purpose\\*" in shown
    assert "gate:rows:feature\\_recommendations | 0 rows; 746" in shown

    decided, mails = world.tick()
    assert decided.gate_held is None
    assert mails > 20
    row = world.ledger.gates.of(current.snapshot_id)
    assert row is not None
    assert (row["overridden_by"], row["override_reason"], row["checked_at"]) == ("Grace", WHY, NOW)
    assert row["reasons"] == list(result.reasons)
    assert [check for check in row["checks"] if check.blocks] == list(passed.checks)
    told = f"let pass by Grace: {WHY}"
    assert told in plan_summary(world.plan())
    status = Status(
        gate=world.ledger.gates.latest(), playbooks=[], sends=[], held=[], approvals=[], controls=[]
    )  # fmt: skip
    assert told in status_summary(status)


def test_what_is_wrong_in_itself_is_let_pass_for_this_very_snapshot_alone(
    world: World, spoil: Callable[..., Build]
) -> None:
    wrong = "update marts.accounts_current set stickiness = 30 where account_id = 'a001'"
    let_pass(world, world.refresh(spoil(wrong)).held_snapshot_id)
    again = world.refresh(spoil(wrong, "update marts.dim_accounts set csm = 'another'"))
    assert [line.partition(" ")[0] for line in again.reasons] == [
        "gx:accounts_current:expect_column_values_to_be_between:stickiness"
    ]
    assert world.tick(now=NOW + timedelta(minutes=1))[0].gate_held is None  # the one that was let pass is still fresh


def next_day(world: World, day: int, *statements: str) -> RefreshResult:
    """Refresh so many days later, on marts of that day which were changed."""
    as_of = AS_OF + timedelta(days=day)
    path = world.home / f"warehouse-{day}.duckdb"
    path.unlink(missing_ok=True)
    write_warehouse(path, as_of)
    with duckdb.connect(str(path)) as warehouse:
        for statement in statements:
            warehouse.execute(statement)
    return world.refresh(build_of(path, as_of), now=as_of + timedelta(hours=1))


def test_what_was_let_pass_is_the_new_normal_and_a_second_fall_is_found(
    world: World, spoil: Callable[..., Build]
) -> None:
    fewer = "delete from marts.feature_recommendations where recommendation_rank > 1"
    dropped = world.refresh(spoil(fewer))
    assert [line.partition(" ")[0] for line in dropped.reasons] == ["gate:rows:feature_recommendations"]
    let_pass(world, dropped.held_snapshot_id)

    # The next day is as the one that was let pass: nobody has to say so again.
    assert next_day(world, 1, fewer).reasons == ()
    assert world.tick(now=AS_OF + timedelta(days=1, hours=1))[1] > 20

    # Half of what was let pass is a second fall; and nobody let another mart fall.
    second = next_day(world, 2, fewer, "delete from marts.feature_recommendations where contact_id < '8'")
    assert [line.partition(" ")[0] for line in second.reasons] == ["gate:rows:feature_recommendations"]
    assert "is the median of the last 2 days with a snapshot; expected a fall of at most 30%" in second.reasons[0]
    other = next_day(world, 2, fewer, "delete from marts.fct_account_feature_daily where account_id < 'a030'")
    assert "gate:rows:fct_account_feature_daily failed" in " ".join(other.reasons)
    decided, mails = world.tick(now=AS_OF + timedelta(days=2, hours=14))
    assert mails == 0
    assert decided.gate_held is not None
    assert "the last refresh was held" in decided.gate_held


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"by": "  "}, "expected a name and a reason"),
        ({"reason": "because"}, "expected a name and a reason"),
        ({"now": AS_OF + timedelta(hours=37)}, "nothing is mailed from data as of"),
        ({"now": AS_OF - timedelta(hours=1)}, "nothing is mailed from data as of"),
    ],
)
def test_an_override_that_is_refused_changes_nothing(
    world: World, spoil: Callable[..., Build], changed: dict[str, Any], told: str
) -> None:
    held = world.refresh(spoil(HALF)).held_snapshot_id
    with pytest.raises(Refused, match=told):
        let_pass(world, held, **changed)
    assert world.tick()[1] == 0
    assert let_pass(world, held).by == "Grace"  # it can still be done in the right way


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("drop table marts.feature_recommendations", "it is not what the last refresh held"),
        ("alter table marts.contacts_current rename role to title", "it is not what the last refresh held"),
        ("drop table staging.stg_usage_events", "what did not run has nothing anybody could have looked at"),
    ],
)
def test_marts_that_cannot_be_read_are_never_let_pass(
    world: World, spoil: Callable[..., Build], statement: str, told: str
) -> None:
    result = world.refresh(spoil(statement))
    last = world.ledger.gates.latest()
    assert last is not None
    with pytest.raises(Refused, match=told):
        let_pass(world, result.held_snapshot_id or "20260302T050000Z-00000000")
    assert world.tick()[1] == 0


def test_only_the_last_refresh_can_be_overridden(world: World, spoil: Callable[..., Build]) -> None:
    first = world.refresh(spoil(HALF)).held_snapshot_id
    assert world.refresh(spoil()).gate == "passed"
    with pytest.raises(Refused, match="it is not what the last refresh held"):
        let_pass(world, first)


def test_what_was_held_is_gone_after_the_next_refresh(world: World, spoil: Callable[..., Build]) -> None:
    first = world.refresh(spoil(HALF)).held_snapshot_id
    second = world.refresh(spoil(HALF, "delete from marts.fct_outcomes where enrollment_id = 1")).held_snapshot_id
    assert first != second
    with pytest.raises(SnapshotError, match="does not exist"):
        world.snapshots.release(str(first))
    assert world.snapshots.release(str(second)).snapshot_id == second


def test_killed_before_its_gate_row_no_mail_leaves_and_the_override_is_given_again(
    world: World, spoil: Callable[..., Build], monkeypatch: pytest.MonkeyPatch
) -> None:
    held = world.refresh(spoil(HALF)).held_snapshot_id

    def die(*_args: Any, **_options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(world.ledger.gates, "record", die)
    with pytest.raises(KeyboardInterrupt):
        let_pass(world, held)
    monkeypatch.undo()
    assert world.tick()[1] == 0
    let_pass(world, held)
    assert world.tick()[1] > 20


def test_reports_that_were_held_alone_are_let_pass_in_the_same_way(world: World, spoil: Callable[..., Build]) -> None:
    from uptake.operations.gate import refuse_held_reports

    result = world.refresh(spoil("update marts.fct_outcomes set is_goal_reached = true where enrollment_id = 1"))
    assert (result.gate, result.reports) == ("passed", "held")
    let_pass(world, result.snapshot_id)
    current = world.snapshots.current()
    assert current is not None
    refuse_held_reports(world.ledger, current)
