"""`uptake check`: everything wrong, each thing once."""

from __future__ import annotations

from uptake.domain.playbooks import Release
from uptake.domain.workspace import Workspace
from uptake.errors import PlaybookError
from uptake.operations.check import check


class SpoiltPlaybooks:
    """Playbooks of which only the problems are known."""

    def __init__(self, problems: dict[str, list[str]], workspace_error: str | None = None) -> None:
        self._problems = problems
        self._workspace_error = workspace_error

    def names(self) -> list[str]:
        if not self._problems and self._workspace_error == "no folder":
            raise PlaybookError("no folder")
        return sorted(self._problems)

    def problems(self, name: str) -> list[str]:
        return self._problems[name]

    def release(self, name: str) -> Release:
        raise NotImplementedError

    def workspace(self) -> Workspace:
        if self._workspace_error:
            raise PlaybookError(self._workspace_error)
        return None  # type: ignore[return-value]


def test_nothing_wrong_is_an_empty_list() -> None:
    assert check(SpoiltPlaybooks({"a": [], "b": []})) == []
    assert check(SpoiltPlaybooks({})) == []


def test_what_two_playbooks_share_is_said_once() -> None:
    shared = "playbooks/_workspace.yml:3: caps: the key is missing"
    assert check(SpoiltPlaybooks({"a": [shared, "a"], "b": [shared, "b"]})) == [shared, "a", "b"]


def test_a_workspace_without_playbooks_is_still_checked() -> None:
    assert check(SpoiltPlaybooks({}, "_workspace.yml:1: wrong")) == ["_workspace.yml:1: wrong"]
    assert check(SpoiltPlaybooks({}, "no folder")) == ["no folder"]
