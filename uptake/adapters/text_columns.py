"""Which columns a stage's texts name, so that nobody reads the others for every person a mail goes to."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from jinja2 import Environment, TemplateSyntaxError, nodes

from uptake.adapters.templates import ROOTS, WHY
from uptake.adapters.text_syntax import parse
from uptake.domain.playbooks import Release

#: By root the columns named; None: all of them.
Columns = Mapping[str, frozenset[str] | None]

_ENVIRONMENT = Environment(autoescape=False)  # noqa: S701 - reads templates here, and never renders one
_ALL: Columns = dict.fromkeys(ROOTS)


def columns_of(release: Release, stage_key: str) -> Columns:
    """Return what a stage's mail and its suggested words may ask of each root."""
    text = release.texts.get(stage_key)
    parts = (text.subject, text.preheader, text.body) if text is not None else ()
    return _columns((*parts, release.words.get(stage_key, ""), WHY))


@lru_cache(maxsize=512)
def _columns(sources: tuple[str, ...]) -> Columns:
    named: dict[str, set[str]] = {root: set() for root in ROOTS}
    whole: set[str] = set()
    for source in sources:
        try:
            _look(parse(_ENVIRONMENT, source), named, whole)
        except TemplateSyntaxError:  # whoever renders it says what is wrong
            return _ALL
    return {root: None if root in whole else frozenset(columns) for root, columns in named.items()}


def _look(node: nodes.Node, named: dict[str, set[str]], whole: set[str]) -> None:
    """Note `root.column` and `root['column']`; a root in any other place may be asked for anything."""
    match node:
        case nodes.Getattr(node=nodes.Name(name=root), attr=column) if root in named:
            named[root].add(column)
        case nodes.Getitem(node=nodes.Name(name=root), arg=nodes.Const(value=str(column))) if root in named:
            named[root].add(column)
        case nodes.Name(name=root):
            whole.add(root)
        case _:
            for child in node.iter_child_nodes():
                _look(child, named, whole)
