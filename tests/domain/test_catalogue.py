"""Which event means which feature, and what rows a new log suggests."""

from __future__ import annotations

import csv
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uptake.domain.catalogue import (
    CatalogueRow,
    FrictionPattern,
    as_csv_line,
    friction_kind,
    matches_pattern,
    proposed_rows,
    source_name,
)


def row(key: str, *patterns: str, rank: int = 1) -> CatalogueRow:
    return CatalogueRow(feature_key=key, name=key, event_patterns=patterns, ladder_rank=rank)


def test_a_star_is_any_text_and_all_else_is_itself():
    assert matches_pattern("projects.created", "projects.*")
    assert matches_pattern("a.b.c", "a.*.c")
    assert not matches_pattern("projectsXcreated", "projects.*")
    assert not matches_pattern("Projects.created", "projects.*")
    assert row("f", "x", "y*").claims("yes")
    assert not row("f", "x", "y*").claims("no")


def test_a_name_means_one_kind_of_friction_the_first_by_name():
    patterns = [
        FrictionPattern(event_pattern="app.*", kind="error"),
        FrictionPattern(event_pattern="*.x", kind="blocked"),
    ]
    kinds = [friction_kind(name, patterns) for name in ("app.x", "app.y", "web.x", "web.y")]
    assert kinds == ["blocked", "error", "blocked", None]


def test_a_proposed_row_claims_its_events_and_goes_on_after_what_is_known():
    rows = proposed_rows(["Report Viewed", "push.opened", "push.closed"], known=[row("push", "x", rank=7)])
    assert [(found.feature_key, found.name, found.event_patterns, found.ladder_rank) for found in rows] == [
        ("report_viewed", "Report viewed", ("Report Viewed",), 8),
        ("push_2", "Push", ("push.opened", "push.closed"), 9),
    ]


def test_camel_case_becomes_words_and_the_word_event_says_nothing():
    keys = [found.feature_key for found in proposed_rows(["PullRequestEvent", "Event", "HTTPError", "été"], known=[])]
    assert keys == ["pull_request", "event", "http_error", "ete"]


def test_names_without_a_letter_get_a_key_all_the_same():
    found = proposed_rows(["导出", "42", "!!"], known=[])
    assert [(item.feature_key, item.name) for item in found] == [
        ("feature_1", "导出"), ("feature_42", "42"), ("feature_3", "!!"),
    ]  # fmt: skip


def test_a_folder_names_a_source():
    assert source_name("Our Product Logs 2026") == "our_product_logs_2026"
    assert source_name("2026") == "feature_2026"


@given(names=st.lists(st.text(min_size=1, max_size=80), unique=True, max_size=8))
def test_every_proposed_line_can_be_pasted_and_claims_its_event(names: list[str]):
    columns = ["source", "feature_key", "name", "event_patterns", "adopted_days", "ladder_rank", "something_new"]
    rows = proposed_rows(names, known=[])
    assert all(any(found.claims(name) for found in rows) for name in names)
    keys = [found.feature_key for found in rows]
    assert len(set(keys)) == len(keys)
    assert all(re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", key) for key in keys)
    for found in rows:
        (read,) = csv.DictReader([as_csv_line(found, source="s", columns=columns)], fieldnames=columns)
        assert read["feature_key"] == found.feature_key
        assert read["adopted_days"] == "3"
        assert read["something_new"] == ""


@pytest.mark.parametrize("long", ["word " * 30, "w" * 200])
def test_a_long_name_ends_with_a_whole_word_where_it_can(long: str):
    (found,) = proposed_rows([long], known=[])
    assert len(found.feature_key) <= 40
    assert not found.feature_key.endswith("_")
