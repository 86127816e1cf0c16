"""Values as Markdown: customer data is data in it, and nothing found reads as nothing found."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import example, given
from hypothesis import strategies as st

from tests.summaries.hostile import BAD, shown, tokens
from uptake.summaries.markdown import table


@given(st.lists(st.lists(st.text(), min_size=2, max_size=2), min_size=1, max_size=4))
@example([["- a", "1. b"], ["=", "+ c"], ["\\", "\\|"], ["~~", "&amp;"]])
def test_a_cell_shows_its_text_whatever_the_text(rows: list[list[str]]) -> None:
    text = table(("left", "right"), rows)
    cells = shown(text)[2:]
    expected = [" ".join(cell.split()) for row in rows for cell in row]
    assert [" ".join(cell.split()) for cell in cells] == [
        cell.replace("\0", "\N{REPLACEMENT CHARACTER}") for cell in expected
    ]
    assert not {token.type for token in tokens(text)} & BAD


def test_an_empty_table_says_so_and_unknown_is_a_dash() -> None:
    assert table(("a",), [], empty="Nobody.") == "Nobody."
    assert "| – | no | 2026-03-03 09:00 |" in table(
        ("a", "b", "c"), [(None, False, datetime(2026, 3, 3, 9, 0, tzinfo=UTC))]
    )
