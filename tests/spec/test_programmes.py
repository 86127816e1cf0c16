"""Every programme of a public customer-success handbook, written as a playbook that `uptake check` passes.

The programmes are GitLab's (handbook, "Customer Programs"), in our own words: enrolment by day of contract, series,
newsletters and webinars by calendar, surveys around renewal, usage triggers, and what a manager starts by hand.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from uptake.adapters.playbook_files import PlaybookFiles

HERE = Path(__file__).parent / "programmes"
LAYOUT = Path(__file__).resolve().parents[2] / "playbooks" / "_layout"
PROGRAMMES = sorted(path.stem for path in HERE.glob("[!_]*.yml"))
TEXT = (
    "---\nsubject: {subject}\n---\n"
    "Hello{{% if contact.given_name %}} {{{{ contact.given_name }}}}{{% endif %}},\n\n{body}\n"
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> PlaybookFiles:
    """A playbooks folder with every programme; the first line of each says what its mails are about."""
    folder = tmp_path_factory.mktemp("forge") / "playbooks"
    shutil.copytree(LAYOUT, folder / "_layout")
    shutil.copy(HERE / "_workspace.yml", folder)
    for name in PROGRAMMES:
        text = (HERE / f"{name}.yml").read_text(encoding="utf-8")
        (folder / name).mkdir()
        (folder / name / "playbook.yml").write_text(text, encoding="utf-8")
        about = text.splitlines()[0].removeprefix("# ")
        for email in re.findall(r"email: ([\w-]+\.md)", text):
            written = TEXT.format(subject=name.replace("-", " ").capitalize(), body=about)
            (folder / name / email).write_text(written, encoding="utf-8")
    return PlaybookFiles(folder, catalogue=HERE / "catalogue.csv")


@pytest.mark.parametrize("name", PROGRAMMES)
def test_a_programme_passes_the_check_and_is_short(files: PlaybookFiles, name: str) -> None:
    assert files.problems(name) == []
    assert len((HERE / f"{name}.yml").read_text(encoding="utf-8").splitlines()) <= 20


def test_the_programmes_are_all_there_and_use_what_they_need(files: PlaybookFiles) -> None:
    releases = [files.release(name) for name in PROGRAMMES]
    assert len(releases) == 25
    assert {release.playbook.enter for release in releases} == {"match", "manual", "calendar"}
    assert sum(release.playbook.goal.none is not None for release in releases) == 11
    assert list(files.release("likely-to-leave").playbook.stages) == ["call", "tips", "tips-2", "tips-3"]
