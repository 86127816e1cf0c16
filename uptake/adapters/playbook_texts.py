"""Stage texts: Markdown with front matter, and whether everything they say can be said of everybody.

What a text may hold at all is decided where it is rendered (`uptake.adapters.templates`); here each merge field is
looked up, and one that can be empty must come with a default or stand inside an `if`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from jinja2 import Environment, TemplateSyntaxError, nodes
from markdown_it import MarkdownIt

from uptake.adapters.mail_values import ValueMissing, link
from uptake.adapters.marts import MARTS
from uptake.adapters.playbook_yaml import Document, Problem, Source, Unreadable
from uptake.adapters.text_syntax import parse
from uptake.domain.conditions.slips import nearest
from uptake.domain.playbooks import StageText

_FENCE = "---"
_CHUNK = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
_ENVIRONMENT = Environment(autoescape=False)  # noqa: S701 - reads templates here, and never renders one
_MARKDOWN = MarkdownIt("commonmark", {"html": False})

#: What `ports.MergeFields` delivers, by its first word.
MERGE_FIELDS: Mapping[str, frozenset[str]] = {
    "account": frozenset(MARTS["accounts_current"].names),
    "contact": frozenset(MARTS["contacts_current"].names) | {"given_name", "full_name"},
    "feature": frozenset(MARTS["dim_features"].names) | frozenset(MARTS["contact_features"].names),
    "account_feature": frozenset(MARTS["account_features"].names),
    "sender": frozenset({"name", "address"}),
}

#: Merge fields that have a value for everybody; those of the catalogue are added for what a playbook teaches.
ALWAYS_KNOWN = frozenset(
    {
        "account.account_id", "account.count_open_tickets", "account.count_contacts",
        "account.count_active_contacts_28", "account.count_features_entitled", "account.count_features_adopted",
        "contact.contact_id", "contact.account_id", "contact.active_days_28", "contact.count_features_used_28",
        "contact.count_features_adopted", "feature.feature_key", "feature.adoption_state", "feature.days_used_28",
        "account_feature.adoption_state", "account_feature.days_used_28", "sender.name", "sender.address",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Text:
    """A stage text with the places its parts came from."""

    text: StageText
    parts: tuple[Source, ...]  # subject, preheader, body


def read_text(source: Source) -> Text:
    """Read a text file. Raises Unreadable."""
    lines = source.text.splitlines()
    if not lines or lines[0].strip() != _FENCE:
        raise Unreadable([source.problem(1, "expected front matter: `---`, then `subject: ...`, then `---`")])
    end = next((at for at, line in enumerate(lines[1:], 1) if line.strip() == _FENCE), None)
    if end is None:
        raise Unreadable([source.problem(1, "the front matter is never closed; expected a line `---`")])
    front = Document(Source(source.file, "\n".join(lines[1:end]), first_line=2))
    body = Source(source.file, "\n".join(lines[end + 1 :]), first_line=end + 2)
    if not body.text.strip():
        raise Unreadable([body.problem(1, "the text is empty")])
    head = front.parse(_FrontMatter)
    text = StageText(subject=head.subject, preheader=head.preheader, body=body.text.strip("\n") + "\n")
    parts = [
        Source(source.file, value, first_line=front.line(key) + front.source.first_line - 1)
        for key, value in (("subject", head.subject), ("preheader", head.preheader))
    ]
    return Text(text, (*parts, body))


class _FrontMatter(StageText):
    """A stage text before its body is known."""

    body: str = "to be read"


def check_fields(text: Text, known: Collection[str]) -> Iterator[Problem]:
    """Yield merge fields that do not exist, or may be empty without anything said in their stead.

    Args:
        text: The text.
        known: Merge fields that have a value for everybody, e.g. `feature.name`.
    """
    for part in text.parts:
        try:
            tree = parse(_ENVIRONMENT, part.text)
        except TemplateSyntaxError as error:
            yield part.problem(error.lineno, f"merge fields: {error.message}")
            continue
        unsaid: dict[tuple[int, str], Problem] = {}
        for found in tree.find_all((nodes.Getattr, nodes.Getitem)):
            yield from _missing(part, found)
        for field in _Walk(frozenset(known)).body(tree.body):
            if not _exists(field):
                continue  # told already
            message = (
                f"`{_name(field)}` may be empty; write `{{{{ {_name(field)}|default('...') }}}}` "
                f"or put it inside `{{% if {_name(field)} %}}`"
            )
            unsaid[field.lineno, str(_name(field))] = part.problem(field.lineno, message)
        yield from unsaid.values()


def _missing(part: Source, field: nodes.Node) -> Iterator[Problem]:
    if not isinstance(field, (nodes.Getattr, nodes.Getitem)):
        return
    if not isinstance(field.node, nodes.Name) or field.node.name not in MERGE_FIELDS:
        return
    root = field.node.name
    if isinstance(field, nodes.Getitem):
        yield part.problem(field.lineno, f"`{root}[...]` is refused; write `{root}.name_of_the_column`")
    elif field.attr not in MERGE_FIELDS[root]:
        known = [f"{root}.{column}" for column in MERGE_FIELDS[root]]
        name = f"{root}.{field.attr}"
        alike = nearest(field.attr, known)
        hint = f"; did you mean `{alike}`?" if alike else ""
        yield part.problem(field.lineno, f"unknown merge field `{name}`{hint}")


def _exists(field: nodes.Getattr) -> bool:
    return isinstance(field.node, nodes.Name) and field.attr in MERGE_FIELDS[field.node.name]


def check_links(text: Text, hosts: Iterable[str]) -> Iterator[Problem]:
    """Yield links that do not lead over https to one of the hosts."""
    allowed = tuple(hosts)
    body = text.parts[-1]
    # A merge field may hold spaces, which no link may; the lines must stay as many as they were.
    plain = _CHUNK.sub(lambda chunk: "\0" + "\n" * chunk[0].count("\n"), body.text).replace("\0", "merge-field")
    for token in _MARKDOWN.parse(plain):
        start = token.map[0] if token.map else 0
        for child in token.children or ():
            target = str(child.attrs.get("href", child.attrs.get("src", "merge-field")))
            if target.startswith(("merge-field", "mailto:")):
                continue
            lines = plain.splitlines()[start:]
            line = start + next((at for at, found in enumerate(lines) if target in found), 0) + 1
            try:
                link(target, allowed)
            except ValueMissing as error:
                yield body.problem(line, f"link {target!r}: {error}; expected https:// and one of {', '.join(allowed)}")


# --- which fields may be empty where they stand ---------------------------------------------------------


def _name(node: nodes.Node) -> str | None:
    """Return `account.plan` for that merge field, None for any other node."""
    if isinstance(node, nodes.Getattr) and isinstance(node.node, nodes.Name) and node.node.name in MERGE_FIELDS:
        return f"{node.node.name}.{node.attr}"
    return None


class _Walk:
    """Walks a template with what is known to have a value; yields fields used as if they had one."""

    def __init__(self, known: frozenset[str]) -> None:
        self._known = known

    def _and(self, more: frozenset[str]) -> _Walk:
        return _Walk(self._known | more)

    def body(self, body: Iterable[nodes.Node]) -> Iterator[nodes.Getattr]:
        """Yield from statements."""
        for node in body:
            yield from self.used(node)

    def used(self, node: nodes.Node) -> Iterator[nodes.Getattr]:
        """Yield from a node whose value matters."""
        if (name := _name(node)) is not None:
            if name not in self._known and isinstance(node, nodes.Getattr):
                yield node
            return
        match node:
            case nodes.If():
                yield from self.asked(node.test)
                yield from self._and(_proven(node.test)).body(node.body)
                otherwise = self._and(_refuted(node.test))
                yield from otherwise.body([*node.elif_, *node.else_])
            case nodes.CondExpr():
                yield from self.asked(node.test)
                yield from self._and(_proven(node.test)).used(node.expr1)
                if node.expr2 is not None:
                    yield from self._and(_refuted(node.test)).used(node.expr2)
            case nodes.Filter(name="default" | "d") if node.node is not None:
                yield from self.asked(node.node)
                yield from self.body(node.args)
            case nodes.Or():
                yield from self.asked(node.left)
                yield from self._and(_refuted(node.left)).used(node.right)
            case nodes.And() | nodes.Not() | nodes.Test() | nodes.Compare():
                yield from self.asked(node)
                if isinstance(node, nodes.And):
                    yield from self.used(node.right) if _name(node.right) else ()
            case _:
                yield from self.body(node.iter_child_nodes())

    def asked(self, node: nodes.Node) -> Iterator[nodes.Getattr]:
        """Yield from a node that is only asked whether it holds; a bare field may be empty there."""
        if _name(node) is not None:
            return
        match node:
            case nodes.And():
                yield from self.asked(node.left)
                yield from self._and(_proven(node.left)).asked(node.right)
            case nodes.Or():
                yield from self.asked(node.left)
                yield from self._and(_refuted(node.left)).asked(node.right)
            case nodes.Not() | nodes.Test():
                yield from self.asked(node.node)
            case nodes.Compare() if all(operand.op in ("eq", "ne") for operand in node.ops):
                yield from self.asked(node.expr)
                for operand in node.ops:
                    yield from self.asked(operand.expr)
            case nodes.Compare():  # nothing is greater or less than an empty field
                yield from self.used(node.expr)
                for operand in node.ops:
                    yield from self.used(operand.expr)
            case _:
                yield from self.used(node)


def _proven(test: nodes.Node) -> frozenset[str]:
    """Return the fields that have a value where this test holds."""
    if (name := _name(test)) is not None:
        return frozenset({name})
    match test:
        case nodes.And():
            return _proven(test.left) | _proven(test.right)
        case nodes.Or():
            return _proven(test.left) & _proven(test.right)
        case nodes.Not():
            return _refuted(test.node)
        case nodes.Compare(expr=expr, ops=[nodes.Operand(op="eq", expr=nodes.Const(value=value))]) if value is not None:
            return _proven(expr)
        case _:
            return frozenset()


def _refuted(test: nodes.Node) -> frozenset[str]:
    """Return the fields that have a value where this test does not hold."""
    match test:
        case nodes.Not():
            return _proven(test.node)
        case nodes.Or():
            return _refuted(test.left) | _refuted(test.right)
        case nodes.Test(name="none") if (name := _name(test.node)) is not None:
            return frozenset({name})
        case _:
            return frozenset()
