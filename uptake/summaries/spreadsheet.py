"""Cells for a spreadsheet: whatever the data hold, they stay data there."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

# A spreadsheet would take such a cell for a formula, and run it; some take the wide forms for the narrow ones.
_FORMULA = ("=", "+", "-", "@", "\t", "\n", "＝", "＋", "－", "＠")
_LINE_BREAK = re.compile("\r\n?")


def cells(values: Iterable[Any]) -> list[str]:
    """Return values as the cells of one row; None is empty."""
    # A lone carriage return is not quoted by the writer, and begins a row of its own for whoever reads it.
    texts = ["" if value is None else _LINE_BREAK.sub("\n", str(value)) for value in values]
    return [f"'{text}" if text.startswith(_FORMULA) else text for text in texts]
