"""What a contact has said on the preference page, and who is taught then: words in, people out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.operations.conftest import build_release
from tests.spec.playbook_runner import Case
from uptake.domain.playbooks import NEXT_BEST

# What Ann has said; and of Ann, whom both are for, and Bob, her colleague: who enters a playbook that names dashboards,
# and one that teaches what is recommended, as of a snapshot which recommends dashboards to Ann and boards to Bob.
SAID = """
| Ann has said            | taught dashboards | taught what is recommended     |
| nothing                 | ann bob           | ann: dashboards, bob: boards   |
| dashboards not_needed   | bob               | bob: boards                    |
| dashboards already_do   | bob               | bob: boards                    |
| dashboards colleague    | bob               | bob: boards                    |
| boards not_needed       | ann bob           | ann: dashboards, bob: boards   |
| dashboards taken_back   | ann bob           | ann: dashboards, bob: boards   |
"""
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in SAID.strip().splitlines()[1:]]


def case(answers: dict[str, str], **more: Any) -> dict[str, Any]:
    """Two who match, and what Ann has said."""
    contacts = {
        "ann": {"learns": "dashboards", "answers": answers, "role": "admin"},
        "bob": {"learns": "boards", "role": "member"},
    }
    return {"says": "", "contacts": contacts, "features": {"dashboards": "never", "boards": "never"}, **more}


@pytest.mark.parametrize(("said", "named", "recommended"), ROWS)
def test_an_answer_keeps_its_giver_out_however_a_playbook_names_the_feature(
    said: str, named: str, recommended: str, tmp_path: Path
) -> None:
    answers = {} if said == "nothing" else dict([said.split()])
    out = {} if "ann" in named else {"ann": "answered"}
    for teaches, expected in (
        ("dashboards", dict.fromkeys(named.split(), "dashboards")),
        (NEXT_BEST, dict(one.split(": ") for one in recommended.split(", "))),
    ):
        folder = tmp_path / teaches
        folder.mkdir()
        release = build_release(teaches=teaches, audience={"where": "account.plan == 'team'"})
        entering, left_out, decided = Case(release, case(answers), folder).run()
        assert (entering, left_out) == (expected, out)
        assert decided[0].keys() == expected.keys(), "a tick takes in whom the plan has"


def test_the_place_of_somebody_who_has_answered_goes_to_a_colleague(tmp_path: Path) -> None:
    audience = {"where": "account.plan == 'team'", "contacts": {"prefer": ["admin"], "max_per_account": 1}}
    said = case({"dashboards": "colleague"})
    entering, left_out, _ = Case(build_release(audience=audience), said, tmp_path).run()
    assert (entering, left_out) == ({"bob": "dashboards"}, {"ann": "answered"})


def test_an_answer_ends_the_journey_of_its_giver_alone(tmp_path: Path) -> None:
    release = build_release(
        audience={"where": "account.plan == 'team'"},
        stages={"why": {"email": "why.md"}, "how": {"email": "how.md", "after": "3d"}},
    )
    days = {1: {"answers": {"ann": {"dashboards": "already_do"}}}, 3: {}}
    _, _, decided = Case(release, case({}, days=days), tmp_path).run()
    assert decided == {
        0: {"ann": "send why", "bob": "send why"},
        1: {"ann": "end answered"},
        3: {"bob": "send how", "account": "end completed"},
    }
