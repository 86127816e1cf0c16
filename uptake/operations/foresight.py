"""What a plan foresees beyond who enters: what a tick would do with them, whom an edit touches, what it could prove."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from uptake.domain.arms import Arm
from uptake.domain.detectable import HOPELESS, WORST_RATE, detectable_lift
from uptake.domain.edits import changes
from uptake.domain.playbooks import Edits, Release
from uptake.operations.definitions import counting_releases
from uptake.operations.hypothetical import around, as_if_in
from uptake.ports import Entry, Journeys, Ledger, Snapshot

_VERDICTS = pa.schema([(name, pa.string()) for name in ("contact_id", "stage_key", "verdict", "reason")])
_NEW = -1  # the version of a release that nobody has entered with


def first_tick(
    journeys: Journeys,
    release: Release,
    entry: Entry,
    snapshot: Snapshot,
    tables: Mapping[str, pa.Table],
    ledger: Ledger,
    now: datetime,
) -> pa.Table:
    """Return what a tick would decide for the entrants once they are in: contact_id, stage_key, verdict, reason.

    Whoever is in already contends with them for addresses and caps, as in the tick itself.
    """
    if entry.contacts.num_rows == 0:
        return _VERDICTS.empty_table()
    tables = around(tables, entry.contacts["account_id"].unique())
    releases, following = counting_releases(ledger, tables["enrollments"], ledger.releases.approved())
    advance = journeys.advance(
        {**releases, _NEW: release},
        snapshot,
        as_if_in(release.name, entry, tables, now, version_id=_NEW, first_id=-entry.contacts.num_rows),
        now,
        following=following,
        controls=ledger.releases.controls(),
        gate_held=None,
    )
    own = advance.verdicts.filter(pc.less(advance.verdicts["enrollment_id"], 0))
    return own.select(_VERDICTS.names)


def counted(verdicts: pa.Table) -> dict[str, int]:
    """Count verdicts, as `send` or `retry:capped_person`."""
    rows = verdicts.group_by(["verdict", "reason"]).aggregate([([], "count_all")]).to_pylist()
    found = {
        row["verdict"] if row["reason"] is None else f"{row['verdict']}:{row['reason']}": row["count_all"]
        for row in rows
    }
    return dict(sorted(found.items()))


def touched(
    journeys: Journeys,
    release: Release,
    snapshot: Snapshot,
    tables: Mapping[str, pa.Table],
    ledger: Ledger,
    now: datetime,
) -> dict[str, Any] | None:
    """Return how a release differs from the approved one, and where people who are in stand now and would then.

    None: nothing is approved, or this very release is. With `edits: pin` people stay with what they entered with.
    """
    approved = ledger.releases.approved()
    live = next((one for one in approved if one.playbook == release.name), None)
    if live is None or live.release.release_hash == release.release_hash:
        return None
    releases, following = counting_releases(ledger, tables["enrollments"], approved)
    own = [version_id for version_id, one in releases.items() if one.name == release.name]
    follows = release.playbook.edits is Edits.FOLLOW
    afterwards = {version_id: counts for version_id, counts in following.items() if version_id not in own}
    if follows:
        afterwards |= dict.fromkeys(own, _NEW)
    stands: list[dict[str, int]] = []
    for known, counting in ((releases, following), ({**releases, _NEW: release}, afterwards)):
        rows: list[dict[str, Any]] = []
        if own:
            rows = journeys.standing(known, snapshot, tables, now, following=counting).to_pylist()
        stands.append(
            {row["stage_key"] or "": row["count_contacts"] for row in rows if row["playbook"] == release.name}
        )
    return {
        "approved_plan": live.plan.plan_id,
        "changes": [asdict(change) for change in changes(live.release, release)],
        "follows": follows,
        "stand_now": stands[0],
        "stand_then": stands[1],
    }


def provable(release: Release, entry: Entry, tables: Mapping[str, pa.Table]) -> dict[str, Any] | None:
    """Return the smallest lift these accounts could show, with those who are in or have been; None without a goal."""
    if release.playbook.goal.none is not None:
        return None
    before = tables["enrollments"]
    before = before.filter(pc.equal(before["playbook"], release.name))
    counts = {arm: len(before.filter(pc.equal(before["arm"], arm))["account_id"].unique()) for arm in Arm}
    new = entry.contacts.group_by("arm").aggregate([("account_id", "count_distinct")]).to_pylist()
    for row in new:
        counts[Arm(row["arm"])] += row["account_id_count_distinct"]
    treated, held_out = counts[Arm.TREATMENT], counts[Arm.HOLDOUT]
    lift = detectable_lift(treated, held_out)
    return {
        "treated": treated,
        "held_out": held_out,
        "rate": WORST_RATE,
        "detectable_lift": lift,
        "is_hopeless": lift is None or lift > HOPELESS,
    }


def since(entry: Entry, ledger: Ledger, playbook: str) -> dict[str, Any] | None:
    """Return which accounts enter that the last plan did not have, and the other way round."""
    before = ledger.releases.latest_plan(playbook)
    if before is None:
        return None
    now, then = _accounts(entry.contacts), _accounts(ledger.releases.entrants(before.plan_id))
    return {"plan_id": before.plan_id, "more": _only(now, then), "fewer": _only(then, now)}


def against(
    journeys: Journeys,
    release: Release,
    entry: Entry,
    other: Snapshot,
    tables: Mapping[str, pa.Table],
    ledger: Ledger,
    now: datetime,
) -> dict[str, Any]:
    """Return which accounts match, and which would enter, on one snapshot and not on the other."""
    then = journeys.entrants(release, other, tables, now, controls=ledger.releases.controls())
    matching, matched = (_accounts(one.contacts, one.left_out) for one in (entry, then))
    enter, entered = _accounts(entry.contacts), _accounts(then.contacts)
    return {
        "snapshot_id": other.snapshot_id,
        "as_of": other.as_of.isoformat(),
        "match_now": _only(matching, matched),
        "match_no_more": _only(matched, matching),
        "enter_now": _only(enter, entered),
        "enter_no_more": _only(entered, enter),
    }


def _accounts(*tables: pa.Table) -> pa.Array:
    """Return each account in these tables once."""
    return pc.unique(pa.chunked_array([chunk for table in tables for chunk in table["account_id"].chunks], pa.string()))


def _only(accounts: pa.Array, others: pa.Array) -> list[str]:
    """Return the accounts that are not among the others, sorted."""
    found: list[str] = accounts.filter(pc.invert(pc.is_in(accounts, value_set=others))).sort().to_pylist()
    return found
