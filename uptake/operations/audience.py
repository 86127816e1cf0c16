"""Whether an audience is still what it was, so that data gone wrong in a plausible way take nobody in unseen.

The tolerance of an approval is about how many would enter; this is about how many match, also of those who are in.
"""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from uptake.domain.guardrails import audience_held
from uptake.domain.playbooks import Release
from uptake.ports import Audience, Entry, Ledger, Snapshot


def look_at_audience(release: Release, entry: Entry, snapshot: Snapshot, ledger: Ledger, now: datetime) -> Audience:
    """Measure a playbook's audience on a snapshot against the last one that was not held.

    Every matching account is in `entry`: with contacts who would enter, or left out with a reason.
    """
    accounts = pa.chunked_array(
        [*entry.contacts["account_id"].chunks, *entry.left_out["account_id"].chunks], pa.string()
    )
    count = pc.count_distinct(accounts).as_py()
    before = ledger.releases.last_audience(release.name, is_held=False)
    held = audience_held(
        None if before is None else before.count_accounts, count, limit=release.workspace.guardrails.audience_change
    )
    return Audience(
        playbook=release.name, snapshot_id=snapshot.snapshot_id, count_accounts=count, held=held, measured_at=now
    )


def remember_audience(audience: Audience, ledger: Ledger) -> None:
    """Record what was found, once for a snapshot, unless that changes."""
    last = ledger.releases.last_audience(audience.playbook)
    if last is None or (last.snapshot_id, last.count_accounts, last.held) != (
        audience.snapshot_id,
        audience.count_accounts,
        audience.held,
    ):
        ledger.releases.save_audience(audience)
