"""A tick is told whole: what came in, what was decided, what left, and why something did not."""

from __future__ import annotations

import json
from collections import Counter

from uptake.domain.eligibility import Reason
from uptake.operations.post_tasks import Posted
from uptake.operations.reconcile import ReconcileResult
from uptake.operations.record_delivery import DeliveryResult
from uptake.operations.send import SendResult
from uptake.operations.tick import TickResult
from uptake.operations.tick_report import TickReport

DECIDED = TickResult(
    status="done", snapshot_id="s1", entered={"alpha": 3}, held={"beta": "it is paused"}, counts={"send": 2}
)


def report(**changed: object) -> TickReport:
    parts = {"folded": DeliveryResult(new_events=5), "decided": DECIDED, "sent": SendResult(accepted=2)}
    return TickReport(**{**parts, **changed})


def test_everything_that_was_counted_has_a_name():
    found = ReconcileResult(found=4, held=1)
    assert report(reconciled=found).counts == {
        "delivery_events": 5,
        "entered:alpha": 3,
        "send": 2,
        "accepted": 2,
        "unknown": 0,
        "failed": 0,
        "found": 4,
        "held": 1,
    }
    assert "found" not in report().counts, "nothing was asked"
    told = report(told=Posted(posted=6, trouble="answered 503"))
    assert told.counts["tasks_posted"] == 6
    assert "tasks_posted" not in report().counts
    assert told.reasons == report().reasons, "nobody who is told of tasks stands in the way of mail"


def test_every_part_says_why_something_did_not_happen():
    told = report(
        folded=DeliveryResult(stuck=2),
        reconciled=ReconcileResult(trouble="the log does not answer"),
        sent=SendResult(stopped="everything is paused"),
    )
    assert told.reasons == (
        "2 webhook bodies cannot be folded: `uptake status`",
        "the log does not answer",
        "beta: it is paused",
        "sending stopped: everything is paused",
    )


def test_a_held_gate_and_a_stopped_run_both_mean_that_no_mail_could_leave():
    assert report().stopped is None
    assert report(sent=SendResult(stopped="locked")).stopped == "locked"
    assert report(decided=TickResult(status="done", gate_held="too old")).stopped == "too old"


def test_a_report_is_plain_json():
    told = json.loads(json.dumps(report(sent=SendResult(withheld=Counter({Reason.PAUSED: 1}))).as_json()))
    assert (told["status"], told["snapshot_id"], told["withheld"]) == ("done", "s1", {"paused": 1})
