"""What differs between two releases of one playbook, by key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from uptake.domain.playbooks import Release

How = Literal["added", "removed", "moved", "changed"]


#: What decides who may enter; all else is what people get once they are in.
_WHO_ENTERS = {
    "playbook": frozenset(
        {"teaches", "topic", "audience", "goal", "holdout", "re_entry", "opt_out", "enter", "calendar", "backfill"}
    ),
    "workspace": frozenset({"exclusions", "consent", "global_control", "topics"}),
}


@dataclass(frozen=True, kw_only=True)
class Change:
    """One difference."""

    part: Literal["stage", "playbook", "workspace", "layout"]
    key: str  # the stage's key, or the name in the file
    how: How
    fields: tuple[str, ...] = ()  # of a stage: which of its keys; `text` and `words` for what they say


def changes(old: Release, new: Release) -> list[Change]:
    """Return every difference: stages first, in the order of the new release; removed ones after them.

    A stage has moved when the stages that both releases have come in another order, and it does not follow the same
    one of them as before.
    """
    before, after = (release.playbook.model_dump(mode="json") for release in (old, new))
    stages_before, stages_after = before.pop("stages"), after.pop("stages")
    kept = [key for key in stages_before if key in stages_after]
    followed = dict(zip(kept, [None, *kept], strict=False))
    found: list[Change] = []
    last: str | None = None
    for key, stage in stages_after.items():
        if key not in stages_before:
            found.append(Change(part="stage", key=key, how="added"))
            continue
        fields = [name for name in stage if stage[name] != stages_before[key][name]]
        fields += ["text"] if old.texts.get(key) != new.texts.get(key) else []
        fields += ["words"] if old.words.get(key) != new.words.get(key) and "words" not in fields else []
        if fields:
            found.append(Change(part="stage", key=key, how="changed", fields=tuple(fields)))
        if followed[key] != last:
            found.append(Change(part="stage", key=key, how="moved"))
        last = key
    found += [Change(part="stage", key=key, how="removed") for key in stages_before if key not in stages_after]
    found += _differing("playbook", before, after)
    workspaces = (release.workspace.model_dump(mode="json") for release in (old, new))
    found += _differing("workspace", *workspaces)
    if old.layout != new.layout:
        found.append(Change(part="layout", key="layout", how="changed"))
    return found


def changes_who_enters(old: Release, new: Release) -> bool:
    """Say whether an edit is about who may enter."""
    return any(one.key in _WHO_ENTERS.get(one.part, ()) for one in changes(old, new))


def _differing(part: Literal["playbook", "workspace"], before: dict[str, Any], after: dict[str, Any]) -> list[Change]:
    return [Change(part=part, key=key, how="changed") for key in after if before[key] != after[key]]
