"""Runs `playbooks/<name>/tests/*.yml`: rows and days in, every decision out, by the real rules and a real ledger.

A file is a list of cases. Rows not given are a plain customer's; holdout, global control and the launch are left
aside, so that who matches enters and is treated.

    - says: what the case shows
      account: {plan: team, ...}            # columns of accounts_current
      features: {projects: never, ...}      # the account's adoption; what is listed is entitled
      contacts:                             # columns of contacts_current; features: a state, or columns
        ann: {role: admin, learns: projects, features: {projects: never, alerts: {days_used_28: 2}}, ...}
        bob: {answers: {projects: already_do}}  # said on the preference page before day 0
      enters: {ann: projects}               # who enters on day 0, and the feature each is taught ('' without one)
      left_out: {ann: not_chosen}           # who matches and does not; `account` for the whole account
      days:                                 # a day before one named here decides nothing
        0: {ann: send first}                # contact: verdict, stage[, reason]
        4: {change: {features: {projects: adopted}}, account: end goal_reached}
        5: {close: {call: done}, ann: send second}
        9: {answers: {ann: {projects: colleague}}, ann: end answered}  # or `taken_back`
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from ruamel.yaml import YAML

from uptake.adapters.journeys_duckdb import DuckJourneys
from uptake.adapters.ledger import open_ledger
from uptake.adapters.ledger.answers import TAKEN_BACK
from uptake.adapters.marts import MARTS
from uptake.domain.answers import Answer
from uptake.domain.playbooks import Release
from uptake.domain.workspace import Workspace
from uptake.operations.approve import approve
from uptake.operations.plan import plan
from uptake.operations.tick import tick
from uptake.ports import Keys, Snapshot
from uptake.testing import write_snapshot

DAY_0 = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)  # a Monday, when every window of Europe is open
ACCOUNT = {
    "plan": "team", "arr": 20_000.0, "currency": "EUR", "seats": 20, "csm": "csm-1", "age_days": 200, "churned": False,
    "is_internal": False, "count_open_tickets": 0, "adoption_breadth": 0.3, "days_since_last_use": 1,
    "count_active_contacts_28": 5,
}  # fmt: skip
CONTACT = {"role": "member", "active_days_28": 8, "days_since_last_use": 1, "age_days": 100}


def read_cases(path: Path) -> list[dict[str, Any]]:
    """Return the cases of one file."""
    cases: list[dict[str, Any]] = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    for case in cases:
        unknown = set(case) - {"says", "account", "features", "contacts", "enters", "left_out", "days"}
        unknown |= {f"account.{name}" for name in set(case.get("account", {})) - set(MARTS["accounts_current"].names)}
        for row in case["contacts"].values():
            known = {*MARTS["contacts_current"].names, "learns", "features", "answers"}
            unknown |= {f"contacts.{name}" for name in set(row) - known}
        assert not unknown, f"{path.name}: {case['says']}: unknown {', '.join(sorted(unknown))}"
    return cases


class Case:
    """One account living through a playbook, day by day."""

    def __init__(self, release: Release, case: Mapping[str, Any], folder: Path) -> None:
        # Everybody who matches is treated: what is tested is what happens then.
        opened = release.playbook.model_copy(update={"holdout": 0.0, "backfill": "all"})
        workspace = release.workspace.model_copy(update={"global_control": 0.0})
        self._release = release.model_copy(update={"playbook": opened, "workspace": workspace})
        self._case, self._folder = case, folder
        self._account = ACCOUNT | dict(case.get("account", {}))
        self._features = dict(case.get("features", {}))
        self._contacts = {name: dict(row) for name, row in case["contacts"].items()}
        self._ledger = open_ledger(
            f"sqlite:///{folder / 'ledger.sqlite3'}", Keys(pseudonym=b"k" * 32, tokens=(b"t" * 32,))
        )
        self._journeys = DuckJourneys()
        self._snapshot: Snapshot | None = None

    # --- the ports that are small enough to be played here ---

    def current(self) -> Snapshot | None:
        return self._snapshot

    def names(self) -> list[str]:
        return [self._release.name]

    def release(self, name: str) -> Release:
        return self._release

    def workspace(self) -> Workspace:
        return self._release.workspace

    # --- the case ---

    def run(self) -> tuple[dict[str, str], dict[str, str], dict[int, dict[str, str]]]:
        """Return who entered with what, who was left out and why, and what was decided on each day."""
        days: dict[int, dict[str, Any]] = dict(self._case.get("days", {}))
        self._publish(DAY_0)
        self._answer({name: row.get("answers", {}) for name, row in self._contacts.items()}, DAY_0)
        planned = plan(self, self._journeys, self, self._ledger, name="x", git_sha="test", now=DAY_0)  # type: ignore[arg-type]
        entering = {row["contact_id"]: row["feature_key"] or "" for row in planned.entry.contacts.to_pylist()}
        left_out = {row["contact_id"] or "account": row["reason"] for row in planned.entry.left_out.to_pylist()}
        approve(self._ledger, plan_id=planned.plan.plan_id, by="test", now=DAY_0)
        decided = {}
        # The day before shows that nothing is decided too early.
        for day in sorted({0, *days, *(day - 1 for day in days if day > 0)}):
            step = days.get(day, {})
            self._change(step.get("change", {}))
            now = DAY_0 + timedelta(days=day)
            self._publish(now)
            for task in self._ledger.read("open_tasks"):
                if (outcome := step.get("close", {}).get(task["stage_key"])) is not None:
                    self._ledger.tasks.close(task["task_id"], outcome=outcome, reason="test", by="test", now=now)
            if found := self._tick(now, step.get("answers", {})):
                decided[day] = found
        self._ledger.close()
        return entering, left_out, decided

    def _answer(self, answers: Mapping[str, Mapping[str, str]], now: datetime) -> None:
        people = self._ledger.people
        for name, about in answers.items():
            for feature, said in about.items():
                if said == TAKEN_BACK:
                    people.take_back_answer(name, feature_key=feature, now=now)
                else:
                    people.answer(name, kind=Answer(said), feature_key=feature, now=now)

    def _change(self, change: Mapping[str, Any]) -> None:
        self._account |= change.get("account", {})
        self._features |= change.get("features", {})
        for name, row in change.get("contacts", {}).items():
            of_before = self._contacts[name].get("features", {})
            self._contacts[name] |= row | {"features": of_before | row.get("features", {})}

    def _tick(self, now: datetime, answers: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
        """Tick until nothing is due, let every mail be taken; return what was decided, by contact."""
        before = last = self._told()
        self._answer(answers, now)
        while True:
            tick(self._journeys, self, self._ledger, now=now, git_sha="test", owner="test")  # type: ignore[arg-type]
            self._send(now)
            if (told := self._told()) == last:
                break
            last = told
        new = {name: [words for words in found if words not in before[name]] for name, found in told.items()}
        return {name: ", ".join(sorted(found)) for name, found in new.items() if found}

    def _told(self) -> dict[str, list[str]]:
        """Return all that was ever decided for each contact, and for the account how it ended."""
        told: dict[str, list[str]] = {"account": []}
        for name in self._contacts:
            history = self._ledger.read("contact_history", contact_id=name)
            told[name] = [
                " ".join(filter(None, (row["outcome"], row["stage_key"], row["reason"])))
                for row in history
                if row["what"] == "decided" and row["outcome"] != "end"
            ]
            enrollments = self._ledger.read("contact_enrollments", contact_id=name)
            if enrollments and enrollments[-1]["enrollment_end_reason"] is not None:
                told["account"] = [f"end {enrollments[-1]['enrollment_end_reason']}"]
            elif enrollments and enrollments[-1]["end_reason"] is not None:
                told[name].append(f"end {enrollments[-1]['end_reason']}")
        return told

    def _send(self, now: datetime) -> None:
        sends = self._ledger.sends
        while claimed := sends.claim(owner="w", limit=100, now=now, lease=timedelta(minutes=5)):
            ids = [one.send_id for one in claimed]
            refused = sends.intend(ids, owner="w", body_hash="h", now=now, deadline=now + timedelta(minutes=1))
            assert not refused, refused
            sends.accepted(ids, message_id=None, now=now)

    def _publish(self, now: datetime) -> None:
        key = {"account_id": "acme"}
        taught = [{"feature_key": feature, **key} for feature in self._features]
        marts: dict[str, list[dict[str, Any]]] = {
            "accounts_current": [{**self._account, **key}],
            "dim_accounts": [key],
            "account_features": [
                {**row, "is_entitled": True, "adoption_state": self._features[row["feature_key"]]} for row in taught
            ],
            "contacts_current": [],
            "contact_features": [],
            "feature_recommendations": [],
        }
        people = []
        for name, row in self._contacts.items():
            mine = {"contact_id": name, **key}
            columns = {column: value for column, value in row.items() if column in MARTS["contacts_current"].names}
            marts["contacts_current"].append({**CONTACT, **columns, **mine})
            for feature, use in row.get("features", {}).items():
                columns = use if isinstance(use, dict) else {"adoption_state": use}
                marts["contact_features"].append({"days_used_28": 0, **columns, **mine, "feature_key": feature})
            if row.get("learns"):
                best = {"recommendation_rank": 1, "feature_key": row["learns"]}
                marts["feature_recommendations"].append({**mine, **best})
            people.append(
                {**mine, "address": f"{name}@example.invalid", "given_name": name.title(), "time_zone": "Europe/Berlin"}
            )
        number = f"s{(now - DAY_0).days}"
        snapshot = write_snapshot(self._folder, as_of=now, marts=marts, snapshot_id=number)
        self._snapshot = Snapshot(
            snapshot_id=number, as_of=now, directory=snapshot.directory, manifest={"goal_hash": "g"}
        )
        self._ledger.people.load(pa.Table.from_pylist(people), now=now)
        options = {"status": "passed", "checks": (), "reasons": (), "as_of": now, "now": now}
        self._ledger.gates.record(snapshot_id=number, **options)  # type: ignore[arg-type]
