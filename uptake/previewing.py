"""One stage as one person would get it, rendered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from uptake.adapters.templates import compile_release
from uptake.ports import Claimed

if TYPE_CHECKING:
    from uptake.operations.preview import Preview
    from uptake.ports import Ledger, MergeFields


@dataclass(frozen=True, kw_only=True)
class PreviewedMail:
    """One stage as one person would get it; no address in it."""

    stage_key: str
    contact_id: str
    subject: str
    html: str
    text: str


def previewed(shown: Preview, ledger: Ledger, merge_fields: MergeFields, *, public_url: str) -> PreviewedMail:
    """Render the first sample as it would be sent."""
    sample = shown.samples[0]
    person = ledger.people.person(sample.contact_id) or {}
    claimed = Claimed(
        send_id="preview",
        enrollment_id=0,
        version_id=0,
        playbook=shown.release.name,
        stage_key=shown.stage_key,
        account_id=sample.account_id,
        contact_id=sample.contact_id,
        feature_key=sample.feature_key or "",
        snapshot_id=shown.snapshot.snapshot_id,
        address="",
        given_name=person.get("given_name"),
        full_name=person.get("full_name"),
        locale=person.get("locale"),
    )
    fields = merge_fields.values(shown.snapshot, shown.release, [claimed])["preview"]
    compiled = compile_release(shown.release, shown.stage_key)
    blocks = compiled.fill(fields, unsubscribe_url=f"{public_url}/u/preview")
    html, text = compiled.whole(blocks)
    return PreviewedMail(
        stage_key=shown.stage_key, contact_id=sample.contact_id, subject=blocks.subject, html=html, text=text
    )
