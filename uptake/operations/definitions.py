"""Which definition counts for whom: the release everybody who is in goes by, and what their goal means."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from uptake.domain.playbooks import Edits, Release
from uptake.ports import Approved, Ledger, Snapshot


def goal_hash(snapshot: Snapshot, release: Release) -> str | None:
    """Return the hash of the definitions behind a release's goals: of the feature it teaches, or of all features.

    So a changed definition of one feature holds the playbooks that teach it, and those that may teach any.
    """
    manifest = snapshot.manifest
    own: str | None = manifest.get("goal_hashes", {}).get(release.playbook.teaches)
    return own or manifest.get("goal_hash")


def counting_releases(
    ledger: Ledger, enrollments: pa.Table, approved: list[Approved]
) -> tuple[dict[int, Release], dict[int, int]]:
    """Return the releases of everybody who is in, by version, and which version counts for each entered one.

    Among the releases is every other one that was ever approved of these playbooks: somebody may have passed stages
    that it alone knows. The newest approved release says whether people in its playbook follow it or keep what they
    entered with; it counts also after its approval expired, and while nobody may enter.
    """
    is_open = enrollments.filter(pc.is_null(enrollments["ended_at"]))
    releases = {
        version_id: ledger.releases.version(version_id) for version_id in is_open["version_id"].unique().to_pylist()
    }
    newest = {approval.playbook: approval for approval in approved}
    following: dict[int, int] = {}
    for version_id, release in sorted(releases.items()):
        approval = newest.get(release.name)
        if approval is not None and approval.release.playbook.edits is Edits.FOLLOW:
            following[version_id] = approval.version_id
    for approval in approved:
        if approval.version_id in following.values():
            releases[approval.version_id] = approval.release
    for version_id in ledger.releases.once_approved({release.name for release in releases.values()}):
        releases.setdefault(version_id, ledger.releases.version(version_id))
    return releases, following
