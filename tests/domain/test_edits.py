from __future__ import annotations

from typing import Any

import pytest

from uptake.domain.edits import Change, changes, changes_who_enters
from uptake.domain.playbooks import Playbook, Release, StageText
from uptake.domain.workspace import Workspace

WORKSPACE = {
    "sender": {"name": "Uptake", "address": "success@vendor.example"},
    "postal_address": "1 Long Street, Town",
    "topics": {"training": 7},
    "caps": {"person": {"mails": 3, "per": "7d"}, "account": {"mails": 9, "per": "7d"}},
    "window": {"start": "08:00", "end": "18:00"},
}
STAGES: dict[str, Any] = {key: {"email": f"{key}.md", "after": "1d"} for key in "abc"}


def release(stages: dict[str, Any] | None = None, *, layout: str = "", caps: Any = None, **playbook: Any) -> Release:
    texts, words = playbook.pop("texts", {}), playbook.pop("words", {})
    definition = Playbook.model_validate(
        {
            "teaches": "dashboards", "topic": "training", "audience": {"where": "account.plan == 'team'"},
            "goal": {"within": "28d"}, "holdout": "10%", "stages": stages or STAGES, **playbook,
        }
    )  # fmt: skip
    return Release(
        name="x", playbook=definition, workspace=Workspace.model_validate(WORKSPACE | (caps or {})),
        texts={key: StageText(subject=key, body=texts.get(key, "Words")) for key in definition.stages}, words=words,
        layout=layout,
    )  # fmt: skip


def ordered(*keys: str, **changed: Any) -> dict[str, Any]:
    return {key: STAGES.get(key, {"email": f"{key}.md"}) | changed.get(key, {}) for key in keys}


@pytest.mark.parametrize(
    ("new", "found"),
    [
        (release(), []),
        (release(ordered("a", "x", "b", "c")), [("stage", "x", "added")]),
        (release(ordered("a", "c")), [("stage", "b", "removed")]),
        (release(ordered("a", "b", "d")), [("stage", "d", "added"), ("stage", "c", "removed")]),
        (release(ordered("a", "c", "b")), [("stage", "c", "moved"), ("stage", "b", "moved")]),
        (release(ordered("a", "b", "c", b={"after": "2d", "when": "account.arr > 1"})), [
            ("stage", "b", "changed", "after", "when")
        ]),
        (release(texts={"b": "Other"}), [("stage", "b", "changed", "text")]),
        (release(words={"b": "Say this"}), [("stage", "b", "changed", "words")]),
        (release(holdout="20%", priority=7), [("playbook", "holdout", "changed"), ("playbook", "priority", "changed")]),
        (release(caps={"holidays": ["2026-12-25"]}), [("workspace", "holidays", "changed")]),
        (release(layout="<mjml/>"), [("layout", "layout", "changed")]),
    ],
)  # fmt: skip
def test_every_difference_is_named_by_its_key(new: Release, found: list[tuple[str, ...]]) -> None:
    expected = [
        Change(part=part, key=key, how=how, fields=tuple(fields))  # type: ignore[arg-type]
        for part, key, how, *fields in found
    ]
    assert changes(release(), new) == expected


@pytest.mark.parametrize(
    ("new", "is_about_entry"),
    [
        (release(texts={"b": "Other"}), False),
        (release(ordered("a", "c")), False),
        (release(priority=7, edits="pin", exit_when="account.churned"), False),
        (release(caps={"holidays": ["2026-12-25"]}), False),
        (release(layout="<mjml/>"), False),
        (release(holdout="20%"), True),
        (release(backfill="all"), True),
        (release(caps={"exclusions": {"open_ticket": False}}), True),
        (release(caps={"global_control": "5%"}), True),
    ],
)
def test_an_edit_is_about_who_enters_or_about_what_they_get(new: Release, is_about_entry: bool) -> None:
    assert changes_who_enters(release(), new) is is_about_entry
