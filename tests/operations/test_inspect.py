"""`uptake inspect`: what the catalogue makes of a log, and what to paste into it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from uptake.domain.catalogue import CatalogueRow, FrictionPattern
from uptake.domain.raw_log import EventVolume, Mapped, Oddity, RawLog
from uptake.operations.inspect import Inspection, inspect
from uptake.summaries.inspection import inspection_summary, proposals

NOW = datetime(2026, 3, 3, 9, 0, tzinfo=UTC)
COLUMNS = ["source", "feature_key", "name", "event_patterns", "adopted_days", "ladder_rank"]
CATALOGUE = {
    "mine": [
        CatalogueRow(feature_key="reports", name="Reports", event_patterns=("report.*",), ladder_rank=1),
        CatalogueRow(feature_key="sharing", name="Sharing", event_patterns=("*.shared",), ladder_rank=2),
        CatalogueRow(feature_key="exports", name="Exports", event_patterns=("export",), ladder_rank=3),
    ]
}
FRICTION = {
    "mine": [
        FrictionPattern(event_pattern="*.failed", kind="error"),
        FrictionPattern(event_pattern="sign_in.*", kind="sign_in_failure"),
    ],
    "other": [FrictionPattern(event_pattern="*", kind="error")],
}


class OneLog:
    """A profiler that has seen one log."""

    def __init__(self, *events: str) -> None:
        self._events = events

    def profile(self, raw: Path, *, source: str | None, now: datetime) -> RawLog:
        assert now == NOW
        volumes = tuple(
            EventVolume(name=name, count_events=100 - n, count_users=3, count_accounts=2, count_days=5)
            for n, name in enumerate(self._events)
        )
        mapped = Mapped(
            by=f"stg_{source}__events" if source else "guess", table=None, roles={}, lookup=None, lines=500, events=500,
            duplicates=0, first_at=NOW, last_at=NOW, count_users=3, count_accounts=2, volumes=volumes,
        )  # fmt: skip
        oddity = Oddity(kind="duplicate ids", text="3 ids come more than once", count=3)
        return RawLog(tables=(), mapped=mapped if self._events else None, oddities=(oddity,))


def look(*events: str, source: str | None = "mine", name: str = "mine") -> Inspection:
    return inspect(
        OneLog(*events), raw=Path("raw"), source=source, name=name, catalogue=CATALOGUE, friction=FRICTION,
        columns=COLUMNS, now=NOW,
    )  # fmt: skip


def test_one_event_may_serve_several_features_and_unmapped_ones_are_proposed():
    found = look("report.shared", "signed_in", "report.viewed")
    assert found.features == {"report.shared": ("reports", "sharing"), "signed_in": (), "report.viewed": ("reports",)}
    assert [volume.name for volume in found.unmapped] == ["signed_in"]
    assert found.proposed == ("mine,signed_in,Signed in,signed_in,3,4",)
    assert found.never_seen == ("exports",)
    assert found.mapping is None


def test_friction_is_no_use_of_a_feature_and_nothing_to_map_as_in_a_refresh():
    found = look("report.failed", "sign_in.failed", "signed_in", "sign_in.blocked")
    assert found.friction == {"report.failed": "error", "sign_in.failed": "error", "sign_in.blocked": "sign_in_failure"}
    assert found.features["report.failed"] == ()
    assert "reports" in found.never_seen
    assert [volume.name for volume in found.unmapped] == ["signed_in"]
    assert found.proposed == ("mine,signed_in,Signed in,signed_in,3,4",)
    assert [event["friction"] for event in found.as_json()["events"]] == ["error", "error", None, "sign_in_failure"]
    text = inspection_summary(found)
    assert "1 of 4 event names, 98 events, belongs to no feature." in text
    assert "none: friction (error)" in text
    assert "Every event name belongs to a feature of the catalogue or is friction." in inspection_summary(
        look("export", "report.failed")
    )


def test_a_folder_that_no_source_reads_yet_has_everything_to_map():
    found = look("report.viewed", source=None, name="new_log")
    assert not found.is_catalogued
    assert found.proposed == ("new_log,report,Report,report.viewed,3,1",)
    assert found.never_seen == ()


def test_the_result_is_json():
    document = json.loads(json.dumps(look("signed_in", "export").as_json(), default=str))
    assert document["events"][0]["features"] == []
    assert document["events"][1]["features"] == ["exports"]
    assert document["proposed_catalogue_rows"] == ["mine,signed_in,Signed in,signed_in,3,4"]
    assert document["oddities"][0]["count"] == 3


def test_the_words_say_what_to_do_and_the_lines_to_paste_stand_alone():
    found = look("report.viewed", "signed_in")
    text = inspection_summary(found)
    assert "1 of 2 event names, 99 events, belongs to no feature" in text
    assert "Catalogued, but in no event here: sharing, exports." in text
    assert "duplicate ids: 3 ids come more than once." in text
    assert "mine,signed_in,Signed in,signed_in,3,4\n" in proposals(found)
    assert proposals(look("export")) == ""
    assert "no events" in inspection_summary(look())
