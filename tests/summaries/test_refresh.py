"""A refresh as text: what came in, what holds it, and how to let it pass."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.summaries.hostile import HOSTILE, check_is_data, tokens
from uptake.operations.refresh import RefreshResult
from uptake.ports import Check
from uptake.summaries.refresh import refresh_summary


def refreshed(**changes: Any) -> RefreshResult:
    counts = dict.fromkeys(
        ("lines", "events", "duplicates", "quarantined", "unattributed", "accounts", "users", "features"), 0
    )
    values = {"unmapped_events": {}, "snapshot_id": None, "gate": "held", "reasons": (), **counts, **changes}
    return RefreshResult(**values)


def test_a_held_refresh_tells_its_reasons_as_text() -> None:
    text = refresh_summary(refreshed(reasons=(HOSTILE,), unmapped_events={HOSTILE: 3}))
    assert text.startswith("# Refresh: HELD")
    check_is_data(text)


def test_a_held_refresh_shows_rows_by_id_the_override_and_the_data_docs() -> None:
    check = Check(
        name="gx:accounts_current:nothing_negative", status="failed", severity="critical", detail="2 rows",
        rows=("account_id=a1", HOSTILE),
    )  # fmt: skip
    warning = replace(check, name="dbt:plans", severity="warning", rows=())
    fine = replace(check, name="gate:lines", status="passed")
    result = refreshed(
        reasons=("gx: 2 rows",), held_snapshot_id="s2", checks=(fine, warning, check), report_reasons=("gx:value",)
    )
    text = refresh_summary(result, docs="var/data_docs/index.html")
    check_is_data(text, allowed=frozenset({"code_inline", "link_open"}))
    assert [token.attrGet("href") for token in tokens(text) if token.type == "link_open"] == [
        "var/data_docs/index.html"
    ]
    assert "uptake override s2 --by NAME --reason WHY" in text
    assert "(var/data_docs/index.html)" in text
    assert "no report is made of it" in text
    assert "gate:lines" not in text
    assert text.index("nothing\\_negative") < text.index("dbt:plans")
    assert "account\\_id=a1" in text


def test_an_empty_refresh_is_shown_and_many_unmapped_events_are_cut_short() -> None:
    assert "| lines read | 0 |" in refresh_summary(refreshed())
    text = refresh_summary(refreshed(gate="passed", snapshot_id="s1", unmapped_events={f"e{n}": n for n in range(40)}))
    assert "Published snapshot `s1`." in text
    assert "... and 25 more." in text


@pytest.mark.parametrize("mark", ["- ", "1. ", "+ ", "* ", "> ", "# ", "=== ", "    ", "<script "])
def test_a_reason_that_looks_like_a_list_stays_one_line_of_one_list(mark: str) -> None:
    found = tokens(refresh_summary(refreshed(reasons=(f"{mark}a", "b"))))
    assert [token.type for token in found].count("bullet_list_open") == 1
    assert [token.type for token in found].count("list_item_open") == 2
    assert not {"ordered_list_open", "blockquote_open", "code_block", "html_block"} & {token.type for token in found}
