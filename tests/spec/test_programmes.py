"""Every programme of a public customer-success handbook, written as a playbook that `uptake check` passes.

The programmes are GitLab's (handbook, "Customer Programs"), in our own words: enrolment by day of contract, series,
newsletters and webinars by calendar, surveys around renewal, usage triggers, what a manager starts or sends.
Accounts without a manager get the digital programmes, those with one the manager's; mail goes to an administrator or,
where the programme says so, else to the buyer. Its "likely to leave" score is our health.
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
        for kind, file in re.findall(r"(email|words): ([\w-]+\.md)", text):
            written = TEXT.format(subject=name.replace("-", " ").capitalize(), body=about)
            said = written if kind == "email" else written.partition("---\n")[2].partition("---\n")[2]
            (folder / name / file).write_text(said, encoding="utf-8")
    return PlaybookFiles(folder, catalogue=HERE / "catalogue.csv")


@pytest.mark.parametrize("name", PROGRAMMES)
def test_a_programme_passes_the_check_and_is_short(files: PlaybookFiles, name: str) -> None:
    assert files.problems(name) == []
    assert len((HERE / f"{name}.yml").read_text(encoding="utf-8").splitlines()) <= 20


def test_the_programmes_are_all_there_and_use_what_they_need(files: PlaybookFiles) -> None:
    releases = [files.release(name) for name in PROGRAMMES]
    assert len(releases) == 26
    assert {release.playbook.enter for release in releases} == {"match", "manual", "calendar"}
    assert sum(release.playbook.goal.none is not None for release in releases) == 11
    managed = {name for name in PROGRAMMES if "account.csm is not None" in files.release(name).playbook.audience.where}
    unmanaged = {name for name in PROGRAMMES if "account.csm is None" in files.release(name).playbook.audience.where}
    assert managed | unmanaged == set(PROGRAMMES)
    assert not managed & unmanaged
    assert len(managed) == 12
    assert all("contact.role" in release.playbook.audience.where for release in releases)
    assert list(files.release("likely-to-leave").playbook.stages) == ["call", "tips", "tips-2", "tips-3"]
