"""Turns a stage's Markdown into two Jinja sources, HTML and plain text, with every Jinja expression kept whole.

Expressions are taken out before Markdown is read and put back after, so that neither can change the other.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from jinja2 import Environment, TemplateSyntaxError
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markdown_it.tree import SyntaxTreeNode

from uptake.adapters.mail_values import ValueMissing, link
from uptake.errors import PlaybookError

_EXPRESSION = re.compile(r"\{\{[-+]?(.*?)[-+]?\}\}", re.DOTALL)
_MARKDOWN = MarkdownIt("commonmark", {"html": False})


@dataclass(frozen=True)
class Sources:
    """One text as Jinja source, for the two parts of a mail."""

    html: str
    text: str


def compile_markdown(source: str, *, environment: Environment, hosts: Iterable[str]) -> Sources:
    """Return the HTML and the text source of a Markdown text with Jinja in it.

    Links become `{{ (expression)|link }}`, pieces of links `{{ (expression)|link_part }}`: the environment must
    know both filters. Raises PlaybookError for a link that is not https or leads to a host not in `hosts`.
    """
    marked = _Marks(environment)
    tokens = _MARKDOWN.parse(marked.take_out(source))
    for token in _all(tokens):
        for name in ("href", "src"):
            if target := token.attrs.get(name):
                token.attrs[name] = marked.as_link(str(target), tuple(hosts))
    html = str(_MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {}))
    text = "\n\n".join(_block(node) for node in SyntaxTreeNode(tokens).children)
    return Sources(html=marked.put_back(html, alone=r"<p>{}</p>\n?"), text=marked.put_back(text, alone=r"{}"))


class _Marks:
    """Words without meaning that stand for Jinja expressions while Markdown is read."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._nonce = secrets.token_hex(8)
        self._chunks: list[str] = []
        self._mark = re.compile(rf"u{self._nonce}n(\d+)e")

    def _add(self, chunk: str) -> str:
        self._chunks.append(chunk)
        return f"u{self._nonce}n{len(self._chunks) - 1}e"

    def take_out(self, source: str) -> str:
        """Return the source with a mark for every Jinja expression or statement."""
        out: list[str] = []
        chunk: list[str] = []
        try:
            for _, kind, value in self._environment.lexer.tokeniter(source, None):
                if kind in ("comment_begin", "raw_begin"):
                    raise PlaybookError(f"{value!r} is not allowed in a text; expected {{{{ value }}}} or {{% if %}}")
                if kind == "data":
                    out.append(value)
                    continue
                chunk.append(value)
                if kind in ("variable_end", "block_end"):
                    out.append(self._add("".join(chunk)))
                    chunk.clear()
        except TemplateSyntaxError as error:
            raise PlaybookError(f"line {error.lineno}: {error.message}") from error
        if chunk:
            raise PlaybookError(f"line {source.count(chr(10)) + 1}: {chunk[0]!r} is opened and never closed")
        return "".join(out)

    def put_back(self, rendered: str, *, alone: str) -> str:
        """Return `rendered` with the Jinja in its place; a statement that is alone loses its paragraph."""
        paragraph = re.compile(alone.format(self._mark.pattern))

        def statement(match: re.Match[str]) -> str:
            chunk = self._chunks[int(match[1])]
            return chunk if chunk.startswith("{%") else match[0]

        rendered = paragraph.sub(statement, rendered)
        return self._mark.sub(lambda match: self._chunks[int(match[1])], rendered)

    def as_link(self, target: str, hosts: tuple[str, ...]) -> str:
        """Return a link's target, with its expressions filtered to what a link may hold."""
        whole = self._mark.fullmatch(target)
        if whole:
            return self._add(f"{{{{ ({self._expression(whole)})|link }}}}")
        first = self._mark.search(target)
        if first is None and urlsplit(target).scheme == "mailto":
            return target
        prefix = target if first is None else target[: first.start()]
        if first is not None and not re.match(r"https://[^/?#]+[/?#]", prefix):
            raise PlaybookError("a link with a merge field must start with https:// and a whole host name")
        try:
            link(prefix, hosts)
        except ValueMissing as error:
            raise PlaybookError(f"link {prefix!r}: {error}; expected https:// and one of {', '.join(hosts)}") from None
        return self._mark.sub(lambda match: self._add(f"{{{{ ({self._expression(match)})|link_part }}}}"), target)

    def _expression(self, match: re.Match[str]) -> str:
        chunk = _EXPRESSION.fullmatch(self._chunks[int(match[1])])
        if chunk is None:
            raise PlaybookError("a link may hold {{ value }}, but no {% statement %}")
        return chunk[1].strip()


def _all(tokens: Iterable[Token]) -> Iterable[Token]:
    for token in tokens:
        yield token
        yield from _all(token.children or ())


def _block(node: SyntaxTreeNode) -> str:
    """Return one block of Markdown as plain text."""
    match node.type:
        case "paragraph" | "heading":
            return "".join(_inline(child) for child in node.children)
        case "bullet_list":
            return _items(node, lambda _: "- ")
        case "ordered_list":
            start = int(str(node.attrs.get("start", 1)))
            return _items(node, lambda index: f"{start + index}. ")
        case "blockquote":
            return _indented("\n\n".join(_block(child) for child in node.children), first="> ", rest="> ")
        case "hr":
            return "---"
        case _:
            return node.content.rstrip("\n")  # code


def _items(node: SyntaxTreeNode, bullet: Callable[[int], str]) -> str:
    lines = []
    for index, item in enumerate(node.children):
        first = bullet(index)
        text = "\n".join(_block(child) for child in item.children)
        lines.append(_indented(text, first=first, rest=" " * len(first)))
    return "\n".join(lines)


def _indented(text: str, *, first: str, rest: str) -> str:
    return first + text.replace("\n", f"\n{rest}")


def _inline(node: SyntaxTreeNode) -> str:
    """Return one inline piece as plain text; a link as `text: address`."""
    inner = "".join(_inline(child) for child in node.children)
    match node.type:
        case "link":
            target = str(node.attrs["href"]).removeprefix("mailto:")
            return target if inner in ("", target) else f"{inner}: {target}"
        case "softbreak" | "hardbreak":
            return "\n"
        case "inline" | "strong" | "em" | "image":
            return inner
        case _:
            return node.content
