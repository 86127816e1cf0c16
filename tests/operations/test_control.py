import pytest

from uptake.errors import Refused, UsageError
from uptake.operations.control import control


def order(town, playbooks, now, action, **options):
    given = {"reason": "asked for it", "by": "Ada"} | options
    return control(playbooks, town.ledger, action, now=now, **given)


def test_a_stopped_account_leaves_every_playbook_and_enters_none_until_it_is_resumed(town, playbooks, now):
    town.approve()
    town.tick()
    account_id = town.rows("select account_id from sends order by 1")[0][0]
    assert order(town, playbooks, now, "stop", account_id=account_id) == f"account {account_id}"
    town.tick(now)
    assert town.rows("select status, end_reason from enrollments where account_id = ?", account_id) == [
        ("ended", "stopped")
    ]
    assert town.rows("select distinct status, reason from sends where account_id = ?", account_id) == [
        ("withheld", "stopped")
    ]
    assert town.ledger.releases.controls().accounts == {account_id: "stop"}
    order(town, playbooks, now, "resume", account_id=account_id)
    assert town.ledger.releases.controls().accounts == {}


def test_a_stopped_playbook_ends_for_all_and_nothing_planned_leaves(town, playbooks, now):
    town.approve()
    town.tick()
    assert order(town, playbooks, now, "stop", playbook="alpha") == "alpha"
    town.tick(now)
    assert town.rows("select distinct status, end_reason from enrollments") == [("ended", "stopped")]
    assert town.send(now) == []


def test_an_order_is_kept_with_name_reason_and_moment(town, playbooks, now):
    order(town, playbooks, now, "pause", reason="  a  holiday ")
    row = town.ledger.read("controls")[0]
    assert (row["scope"], row["action"], row["reason"], row["ordered_by"], row["ordered_at"]) == (
        "all", "pause", "a holiday", "Ada", now,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"playbook": "gamma"}, "no playbook 'gamma'; expected one of alpha"),
        ({"account_id": "ghost"}, "nobody knows account 'ghost'"),
        ({"playbook": "alpha", "account_id": "account-0"}, "uptake exit account-0 alpha"),
        ({"playbook": "alpha", "reason": "  "}, "expected a reason"),
        ({"playbook": "alpha", "by": "uptake"}, "is no person's name"),
    ],
)
def test_what_nobody_knows_or_explains_is_refused(town, playbooks, now, options, says):
    with pytest.raises(UsageError, match=says):
        order(town, playbooks, now, "stop", **options)
    assert town.ledger.read("controls") == []


def test_everything_is_paused_by_one_order(town, playbooks, now):
    assert order(town, playbooks, now, "pause") == "everything"
    assert town.ledger.releases.controls().everything == "asked for it"


def test_everything_is_stopped_by_an_order_for_each_approved_playbook(town, playbooks, now):
    with pytest.raises(Refused, match="no playbook was ever approved"):
        order(town, playbooks, now, "stop")
    town.approve()
    town.tick()
    assert order(town, playbooks, now, "stop") == "alpha"
    town.tick(now)
    assert town.rows("select distinct status, end_reason from enrollments") == [("ended", "stopped")]
    order(town, playbooks, now, "resume", playbook="alpha")
    assert town.ledger.releases.controls().playbooks == {}


def test_a_slip_in_a_name_is_told_with_what_was_meant(town, playbooks, now):
    with pytest.raises(UsageError, match="no playbook 'alhpa'; did you mean `alpha`"):
        order(town, playbooks, now, "pause", playbook="alhpa")
