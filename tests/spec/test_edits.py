"""The edit matrix: what everybody who is in gets after a playbook was edited, by where they stood, row by row.

The playbook sends a, b, c and d, two days apart. What is edited is mostly c. The edit is approved on one day; three
accounts are in by then: one stands *before* b, one is *at* c, one is *past* it. A cell tells what each of them gets
from that day on, with the day counted from its own entry:

    b@2     the mail of stage b on day 2, as it was when the account entered
    b@2'    the same by the new version
    [b@2']  a task (closed the next day)
    -b@2'   stage b is passed over
    end@7   the enrollment ends (`completed`, else with the reason)
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from uptake.adapters.journeys_duckdb import DuckJourneys
from uptake.adapters.ledger import open_ledger
from uptake.domain.playbooks import Playbook, Release, StageText
from uptake.domain.workspace import Workspace
from uptake.operations.tasks import close_task
from uptake.operations.tick import tick
from uptake.ports import Approved, Entry, Keys, Plan, Snapshot
from uptake.testing import write_snapshot

DAY = timedelta(days=1)
DAY_0 = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)  # a Monday
EDITED_ON = 5
ENTERS_ON = {"before": 4, "at": 2, "past": 0}
LAST_DAY = 15

EVERY_DAY = {"days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "start": "08:00", "end": "18:00"}
WORKSPACE = {
    "sender": {"name": "Uptake", "address": "success@vendor.example"},
    "postal_address": "1 Long Street, Town",
    "topics": {"training": 7},
    "caps": {"person": {"mails": 9, "per": "7d"}, "account": {"mails": 9, "per": "7d"}},
    "window": EVERY_DAY,
    "consent": {"default_basis": "contract"},
}
STAGES: dict[str, Any] = {
    "a": {"email": "a.md"},
    "b": {"email": "b.md", "after": "2d"},
    "c": {"email": "c.md", "after": "2d"},
    "d": {"email": "d.md", "after": "2d"},
}
# Whom a person takes in, so that a tick asks about nobody else. Every account has arr 20,000 and has tried dashboards.
PLAYBOOK = {
    "teaches": "dashboards",
    "topic": "training",
    "audience": {"where": "account.plan == 'nobody has it'"},
    "goal": {"reach": "adopted", "by": "account", "within": "28d"},
    "holdout": "0%",
    "enter": "manual",
    "stages": STAGES,
}


def stages(*order: str, **changed: Mapping[str, Any]) -> dict[str, Any]:
    """Return stages in this order; what is not named in `changed` is as it was."""
    plain = {"after": "1d"}
    return {
        "stages": {key: {**STAGES.get(key, {"email": f"{key}.md", **plain}), **changed.get(key, {})} for key in order}
    }


#: Every edit: what changes in the playbook (`text`: in c's text; `workspace`: in the workspace).
EDITS: dict[str, dict[str, Any]] = {
    "another text of c": {"text": "Other words"},
    "c later": stages("a", "b", "c", "d", c={"after": "4d"}),
    "c sooner": stages("a", "b", "c", "d", c={"after": "1d"}),
    "c for nobody any more": stages("a", "b", "c", "d", c={"when": "account.arr > 50000"}),
    "c waits for what never comes": stages(
        "a", "b", "c", "d", c={"wait_until": "feature.adoption_state == 'adopted'", "for": "3d"}
    ),
    "c removed": stages("a", "b", "d"),
    "c renamed": stages("a", "b", "e", "d", e={"after": "2d"}),
    "x put in before c": stages("a", "b", "x", "c", "d"),
    "x put in after c": stages("a", "b", "c", "x", "d"),
    "c moved before b": stages("a", "c", "b", "d"),
    "c a task now": stages("a", "b", "c", "d", c={"email": None, "task": "Call"}),
    "c the end now": stages("a", "b", "c", "d", c={"next": "end"}),
    "b and c twice": stages("a", "b", "c", "d", c={"next": {"to": "b", "times": 2}}),
    "c for a goal that is reached": stages("a", "b", "c", "d", c={"goal": {"reach": "tried", "by": "account"}}),
    "d removed": stages("a", "b", "c"),
    "every stage replaced": stages("x", "y"),
    "an exit that holds": {"exit_when": "account.arr > 10000"},
    "a goal that is reached": {"goal": {"reach": "tried", "by": "account", "within": "28d"}},
    "another audience, and held out whole": {"enter": "match", "holdout": "100%"},
    "no mail on Sundays": {"workspace": {"window": {**EVERY_DAY, "days": EVERY_DAY["days"][:6]}}},
}

FOLLOW = """
edit                                 | before                             | at                        | past
another text of c                    | b@2' c@4' d@6' end@7               | c@4' d@6' end@7           | d@6' end@7
c later                              | b@2' c@6' d@8' end@9               | c@6' d@8' end@9           | d@6' end@7
c sooner                             | b@2' c@3' d@5' end@6               | c@3' d@5' end@6           | d@6' end@7
c for nobody any more                | b@2' -c@4' d@6' end@7              | -c@4' d@6' end@7          | d@6' end@7
c waits for what never comes         | b@2' c@7' d@9' end@10              | c@7' d@9' end@10          | d@6' end@7
c removed                            | b@2' d@4' end@5                    | d@4' end@5                | d@6' end@7
c renamed                            | b@2' e@4' d@6' end@7               | e@4' d@6' end@7           | d@6' end@7
x put in before c                    | b@2' x@3' c@5' d@7' end@8          | x@3' c@5' d@7' end@8      | d@6' end@7
x put in after c                     | b@2' c@4' x@5' d@7' end@8          | c@4' x@5' d@7' end@8      | x@5' d@7' end@8
c moved before b                     | c@2' b@4' d@6' end@7               | d@4' end@5                | d@6' end@7
c a task now                         | b@2' [c@4'] d@7' end@8             | [c@4'] d@7' end@8         | d@6' end@7
c the end now                        | b@2' c@4' end@5                    | c@4' end@5                | end@5
b and c twice                        | b@2' c@4' b-2@6' c-2@8' d@10' end@11 | c@4' b-2@6' c-2@8' d@10' end@11 | b-2@6' c-2@8' d@10' end@11
c for a goal that is reached         | b@2' -c@4' d@6' end@7              | -c@4' d@6' end@7          | d@6' end@7
d removed                            | b@2' c@4' end@5                    | c@4' end@5                | end@5
every stage replaced                 | end@1                              | end@3                     | end@5
an exit that holds                   | end@1 exit_condition               | end@3 exit_condition      | end@5 exit_condition
a goal that is reached               | end@1 goal_reached                 | end@3 goal_reached        | end@5 goal_reached
another audience, and held out whole | b@2' c@4' d@6' end@7               | c@4' d@6' end@7           | d@6' end@7
no mail on Sundays                   | b@3' c@5' d@7' end@8               | c@5' d@7' end@8           | d@7' end@8
"""  # noqa: E501 - a table

#: Whoever is pinned gets what they entered with, whatever the edit.
PIN = {"before": "b@2 c@4 d@6 end@7", "at": "c@4 d@6 end@7", "past": "d@6 end@7"}


def _release(name: str, edits: str, edit: Mapping[str, Any]) -> Release:
    changed = {key: value for key, value in edit.items() if key not in ("text", "workspace")}
    playbook = Playbook.model_validate(PLAYBOOK | {"edits": edits} | changed)
    texts = {key: StageText(subject=key, body="Words") for key, stage in playbook.stages.items() if stage.email}
    if "text" in edit:
        texts["c"] = StageText(subject="c", body=edit["text"])
    workspace = Workspace.model_validate(WORKSPACE | edit.get("workspace", {}))
    return Release(name=name, playbook=playbook, workspace=workspace, texts=texts, layout="")


class World:
    """A playbook of its own for each edit and policy, three accounts in each, and a tick a day."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._path = folder, folder / "ledger.sqlite3"
        self._ledger = open_ledger(f"sqlite:///{self._path}", Keys(pseudonym=b"k" * 32, tokens=(b"t" * 32,)))
        self._names = {
            f"{policy}-{number}": (policy, edit) for policy in ("follow", "pin") for number, edit in enumerate(EDITS)
        }
        self._accounts = [f"{name}-{place}" for name in self._names for place in ENTERS_ON]
        self._snapshot: Snapshot | None = None

    def current(self) -> Snapshot | None:
        return self._snapshot

    def told(self) -> dict[tuple[str, str, str], str]:
        """Live through it; return what each account got from the edit on, by policy, edit and place."""
        self._settle()
        journeys = DuckJourneys()
        for day in range(LAST_DAY + 1):
            now = DAY_0 + day * DAY
            self._publish(now)
            if day == 0:
                entered = {name: self._approve(name, {}, now) for name in self._names}
            if day == EDITED_ON:
                for name, (_, edit) in self._names.items():
                    self._approve(name, EDITS[edit], now)
            for task in self._ledger.read("open_tasks"):
                close_task(self._ledger, task_id=task["task_id"], outcome="done", reason="Spoke", by="Ada", now=now)
            for place, enters_on in ENTERS_ON.items():
                if enters_on == day:
                    self._enter(place, entered, now)
            tick(journeys, self, self._ledger, now=now, git_sha="test", owner="test")  # type: ignore[arg-type]
            self._send(now)
        return {
            (policy, edit, place): self._story(f"{name}-{place}", ENTERS_ON[place])
            for name, (policy, edit) in self._names.items()
            for place in ENTERS_ON
        }

    def _settle(self) -> None:
        marts = {
            "accounts_current": [
                {"account_id": one, "plan": "team", "arr": 20_000.0, "age_days": 99, "seats": 5, "churned": False}
                for one in self._accounts
            ],
            "dim_accounts": [{"account_id": one} for one in self._accounts],
            "account_features": [
                {"account_id": one, "feature_key": "dashboards", "is_entitled": True, "adoption_state": "tried"}
                for one in self._accounts
            ],
            "contacts_current": [{"contact_id": f"ann-{one}", "account_id": one} for one in self._accounts],
        }
        self._marts = write_snapshot(self._folder, as_of=DAY_0, marts=marts)
        people = [
            {"contact_id": f"ann-{one}", "account_id": one, "address": f"{one}@example.invalid"}
            for one in self._accounts
        ]
        self._ledger.people.load(pa.Table.from_pylist(people), now=DAY_0)
        self._gate_id = self._ledger.gates.record(
            snapshot_id="s", status="passed", checks=(), reasons=(), as_of=DAY_0, now=DAY_0
        )

    def _publish(self, now: datetime) -> None:
        """The same marts every day: what changes here is the playbook."""
        self._snapshot = Snapshot(
            snapshot_id="s", as_of=now, directory=self._marts.directory, manifest={"goal_hash": "g"}
        )

    def _approve(self, name: str, edit: Mapping[str, Any], now: datetime) -> Approved:
        release = _release(name, self._names[name][0], edit)
        version_id = self._ledger.releases.save_version(release, git_sha="test", now=now)
        plan = Plan(
            plan_id=f"{name}-{now:%d}", playbook=name, version_id=version_id, release_hash=release.release_hash,
            plan_hash="", snapshot_id="s", planned_at=now, count_accounts=3, count_contacts=3,
            summary={"goal_hash": "g"},
        )  # fmt: skip
        expires_at = now + 90 * DAY
        self._ledger.releases.save_plan(plan)
        self._ledger.releases.approve(plan, by="Ada", now=now, expires_at=expires_at, tolerance=1.0)
        return Approved(
            playbook=name, version_id=version_id, release=release, plan=plan, approved_by="Ada",
            expires_at=expires_at, tolerance=1.0,
        )  # fmt: skip

    def _enter(self, place: str, entered: Mapping[str, Approved], now: datetime) -> None:
        for name, approved in entered.items():
            account_id = f"{name}-{place}"
            contact = {
                "account_id": account_id, "contact_id": f"ann-{account_id}", "contact_rank": 1,
                "feature_key": "dashboards", "entry_no": 1, "arm": "treatment", "u": 0.5, "stratum": "team/1-10",
            }  # fmt: skip
            nobody = pa.table({name: pa.array([], pa.string()) for name in ("account_id", "contact_id", "reason")})
            self._ledger.enrollments.enter(
                Entry(contacts=pa.Table.from_pylist([contact]), left_out=nobody),
                approved, snapshot_id="s", gate_id=self._gate_id, now=now,
            )  # fmt: skip

    def _send(self, now: datetime) -> None:
        """Let every planned mail be taken, with a stroke of the pen."""
        with sqlite3.connect(self._path) as connection:
            connection.execute(
                "update sends set status = 'accepted', accepted_at = ? where status = 'planned'",
                [now.replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")],
            )

    def _story(self, account_id: str, enters_on: int) -> str:
        contact_id = f"ann-{account_id}"
        (enrollment,) = self._ledger.read("contact_enrollments", contact_id=contact_id)
        told = []
        for stage_key, verdict, version_id, decided_at in self._rows(contact_id):
            day = (datetime.fromisoformat(decided_at).replace(tzinfo=UTC) - DAY_0).days
            if day >= EDITED_ON and verdict in _SAID:
                is_new = version_id != enrollment["version_id"]
                told.append(_SAID[verdict].format(f"{stage_key}@{day - enters_on}" + "'" * is_new))
        if enrollment["enrollment_status"] == "ended":
            reason = enrollment["enrollment_end_reason"]
            told.append(f"end@{(enrollment['ended_at'] - DAY_0).days - enters_on}")
            told += [] if reason == "completed" else [reason]
        return " ".join(told)

    def _rows(self, contact_id: str) -> list[tuple[Any, ...]]:
        query = (
            "select stage_key, verdict, version_id, decided_at from decisions where contact_id = ? order by decision_id"
        )
        with sqlite3.connect(self._path) as connection:
            return connection.execute(query, [contact_id]).fetchall()


_SAID = {"send": "{}", "task": "[{}]", "pass_over": "-{}"}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[str, str, str], str]]:
    """What everybody got."""
    return World(tmp_path_factory.mktemp("edits")).told()


def _rows() -> list[Any]:
    head, *lines = (re.split(r"\s*\|\s*", line.strip()) for line in FOLLOW.strip().splitlines())
    return [pytest.param(line[0], dict(zip(head[1:], line[1:], strict=True)), id=line[0]) for line in lines]


@pytest.mark.parametrize(("edit", "expected"), _rows())
def test_who_follows_gets_the_new_version_from_where_they_stand(edit, expected, told) -> None:
    assert {place: told["follow", edit, place] for place in ENTERS_ON} == expected


@pytest.mark.parametrize("edit", EDITS)
def test_who_is_pinned_gets_what_they_entered_with(edit, told) -> None:
    assert {place: told["pin", edit, place] for place in ENTERS_ON} == PIN


def test_the_table_has_every_edit() -> None:
    assert [row.values[0] for row in _rows()] == list(EDITS)
