from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.adapters import hostile_names
from tests.adapters.hostile_names import Mediums, names
from tests.prism.bodies import SENT_BODIES, keep_one
from uptake.adapters import charts


@pytest.fixture(scope="module")
def mediums(tmp_path_factory: pytest.TempPathFactory) -> Mediums:
    return Mediums(tmp_path_factory.mktemp("mediums"))


@pytest.mark.slow
def test_no_name_changes_what_any_medium_says_to_the_program_that_reads_it(mediums: Mediums) -> None:
    assert len(set(names())) >= 500
    for number, name in enumerate(names()):
        mediums.check(name, with_charts=number % 100 == 0)
        if folder := os.environ.get(SENT_BODIES):
            for body in mediums.bodies:
                keep_one(body, Path(folder))


def test_a_name_that_no_xml_may_hold_does_not_end_the_process_that_draws_it() -> None:
    for character in ("\x00", "\x1b", "\ud800", "\ufffe"):
        assert "\ufffd" in charts.feature_bars([(f"Boards{character}", 1, 2)])


def test_every_template_and_medium_is_looked_at(mediums: Mediums, root: Path) -> None:
    texts = {f"{release.name}/{stage}" for release in mediums.releases for stage in release.texts}
    assert len(texts) >= 10
    assert texts < set(mediums.mediums)
    expected = {"account page", "value report", "inbox", "tasks as CSV", "tasks as Markdown", "a table", "a list"}
    assert expected < set(mediums.mediums)


def test_an_element_in_a_page_is_seen(mediums: Mediums, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hostile_names, "table", lambda head, rows: f"<b>{head[0]}</b>" if "<" in head[0] else head[0])
    with pytest.raises(AssertionError, match="a table"):
        mediums.check("<script>")


def test_an_evaluated_name_is_seen() -> None:
    with pytest.raises(AssertionError):
        hostile_names._is_data(json.dumps(7 * 7), "{{ 7*7 }}")
