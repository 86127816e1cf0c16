"""A text full of markup, and what shows whether it stayed data."""

from __future__ import annotations

from markdown_it import MarkdownIt
from markdown_it.token import Token

#: Strict CommonMark plus what Prefect's page adds: tables and strike-through.
MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])


HOSTILE = (
    "<script>x</script> ![a](http://e.example/p.png) [b](javascript:1) `c` **d** | e\n# f\n\n| g |\n- h ~~i~~ &lt; _j_"
)


BAD = {"html_inline", "html_block", "image", "link_open", "s_open", "code_inline"}


def tokens(text: str) -> list[Token]:
    found = MARKDOWN.parse(text)
    return [*found, *(child for token in found for child in token.children or [])]


def shown(text: str) -> list[str]:
    """Return what a reader sees, one entry per paragraph, heading or cell."""
    return [
        "".join(
            child.content for child in token.children or [] if child.type in ("text", "code_inline", "text_special")
        )
        for token in MARKDOWN.parse(text)
        if token.type == "inline"
    ]


def check_is_data(text: str, *, allowed: frozenset[str] = frozenset({"code_inline"})) -> None:
    """Hold that HOSTILE is text: no markup of its own, word for word, in one place each."""
    kinds = {token.type for token in tokens(text)}
    assert not kinds & (BAD - allowed), kinds
    flat = " ".join(HOSTILE.split())
    assert any(flat in part for part in shown(text)), shown(text)
    assert not any(token.type == "code_inline" and token.content == "c" for token in tokens(text))
