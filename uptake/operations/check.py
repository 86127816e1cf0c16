"""Everything wrong with the playbooks, before anything runs."""

from __future__ import annotations

from uptake.errors import PlaybookError
from uptake.ports import Playbooks


def check(playbooks: Playbooks) -> list[str]:
    """Return every problem of every playbook, each once, with file and line; an empty list when all is well."""
    try:
        names = playbooks.names()
        if not names:
            playbooks.workspace()
    except PlaybookError as error:
        return [str(error)]
    found = [problem for name in names for problem in playbooks.problems(name)]
    return list(dict.fromkeys(found))
