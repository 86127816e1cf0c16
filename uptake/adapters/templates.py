"""Compiles a stage's text inside its layout once, then fills in one person after the other.

What all recipients share (layout, styles) is one HTML and one text; what differs travels as substitutions under tags
that nobody can guess. Values are data: cleaned, escaped and never read as a template, as HTML or as a tag.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, Undefined, meta, nodes
from jinja2.nodes import EvalContext
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import escape
from mjml import mjml2html

from uptake.adapters.mail_markdown import compile_markdown
from uptake.adapters.mail_values import ValueMissing, harmless, header, link, link_part
from uptake.adapters.text_syntax import parse
from uptake.domain.playbooks import Release, StageText
from uptake.errors import PlaybookError

#: What a text may speak of: `uptake.ports.MergeFields` delivers these.
ROOTS = frozenset({"account", "contact", "feature", "account_feature", "sender"})
#: What a layout may hold, as [[name]].
PLACES = frozenset({"subject", "preheader", "body", "why", "unsubscribe_url", "postal_address"})
#: What the law wants in every mail, and the text itself.
REQUIRED_PLACES = frozenset({"body", "unsubscribe_url", "postal_address"})

_PLACE = re.compile(r"\[\[(\w+)\]\]")
_BLANK_LINES = re.compile(r"\n\s*\n\s*\n")
_TEXT_PART = "{body}\n\n--\n{why}\n\nStop these e-mails or choose what you get: {unsubscribe_url}\n{postal_address}\n"
#: Why somebody gets a mail; it stands in every one.
WHY = (
    "{% if feature.name %}Why you get this: {{ feature.name }} is part of what your company has, and "
    "{% if feature.adoption_state == 'never' %}we see no use of it by you yet"
    "{% elif feature.adoption_state == 'tried' %}we see that you tried it"
    "{% elif feature.adoption_state == 'lapsed' %}we see that you used it before, but not lately"
    "{% else %}we see that you use it{% endif %}."
    "{% else %}You get this as a user of our product.{% endif %}"
)
_FILTERS = (
    "abs", "capitalize", "count", "first", "float", "int", "join", "last", "length", "lower", "replace", "round",
    "title", "trim", "truncate", "upper",
)  # fmt: skip
# No call, no import, no macro, no change of escaping: a text says values, tests them and repeats them.
_NODES = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Const, nodes.Name, nodes.Getattr, nodes.Getitem,
    nodes.Filter, nodes.Test, nodes.If, nodes.For, nodes.CondExpr, nodes.Compare, nodes.Operand, nodes.And, nodes.Or,
    nodes.Not, nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Neg, nodes.Concat,
    nodes.Tuple, nodes.List, nodes.Keyword,
)  # fmt: skip
_UNFILLABLE = (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError)

Fields = Mapping[str, Mapping[str, Any]]


class Blocks(NamedTuple):
    """What differs for one person: the subject, and a rendered block for each tag."""

    subject: str
    substitutions: Mapping[str, str]

    @property
    def count_bytes(self) -> int:
        """Size of the substitutions as SendGrid counts them."""
        return sum(map(len, self.substitutions)) + len("".join(self.substitutions.values()).encode())


@dataclass(frozen=True, kw_only=True)
class CompiledMail:
    """One stage's text inside its layout: what is shared, and how to fill in the rest."""

    html: str
    text: str
    _subject: Callable[[Fields], str]
    _tagged: Mapping[str, Callable[[Fields, str, str], str]]  # tag -> (fields, subject, unsubscribe_url) -> block

    def fill(self, fields: Fields, *, unsubscribe_url: str) -> Blocks:
        """Return one person's blocks. Raises ValueMissing when a value is missing and has no default."""
        subject = header(self._subject(fields))
        return Blocks(
            subject=subject,
            substitutions={tag: block(fields, subject, unsubscribe_url) for tag, block in self._tagged.items()},
        )

    def whole(self, blocks: Blocks) -> tuple[str, str]:
        """Return HTML and text with the blocks in their places, as this one person gets them."""
        return _replace(self.html, blocks.substitutions), _replace(self.text, blocks.substitutions)


def compile_release(release: Release, stage_key: str) -> CompiledMail:
    """Return a stage's text, compiled once. Raises PlaybookError."""
    workspace = release.workspace
    try:
        return _compile(release.layout, release.texts[stage_key], workspace.allowed_links, workspace.postal_address)
    except PlaybookError as error:
        raise PlaybookError(f"playbook {release.name}, stage {stage_key}: {error}") from error


def fill_words(release: Release, stage_key: str, values: Fields) -> str | None:
    """Return what could be said at a task, for one person; None when a value is missing. Implements `ports.Words`."""
    fill = _filler(_environment(html=False, hosts=release.workspace.allowed_links), release.words[stage_key])
    try:
        return _BLANK_LINES.sub("\n\n", fill(values)).strip()
    except ValueMissing:
        return None


def check_words(text: str) -> None:
    """Check what a text of suggested words may hold. Raises PlaybookError."""
    _filler(_environment(html=False, hosts=()), text)


@lru_cache(maxsize=512)
def _compile(layout: str, text: StageText, hosts: tuple[str, ...], postal_address: str) -> CompiledMail:
    for_html, for_text = _environment(html=True, hosts=hosts), _environment(html=False, hosts=hosts)
    body = compile_markdown(text.body, environment=for_text, hosts=hosts)
    subject, preheader = _filler(for_text, text.subject), _filler(for_text, text.preheader)
    why, why_html = _reason(for_text), _reason(for_html)
    html_body, text_body = _filler(for_html, body.html), _filler(for_text, body.text)
    in_html: dict[str, Callable[[Fields, str, str], str]] = {
        "subject": lambda _fields, subject, _url: str(escape(subject)),
        "preheader": lambda fields, _subject, _url: str(escape(preheader(fields))),
        "body": lambda fields, _subject, _url: html_body(fields),
        "why": lambda fields, _subject, _url: why_html(fields),
        "unsubscribe_url": lambda _fields, _subject, url: str(escape(url)),
    }
    in_text: dict[str, Callable[[Fields, str, str], str]] = {
        "body": lambda fields, _subject, _url: _BLANK_LINES.sub("\n\n", text_body(fields)).strip(),
        "why": lambda fields, _subject, _url: why(fields),
        "unsubscribe_url": lambda _fields, _subject, url: url,
    }
    nonce = secrets.token_hex(12)
    tags = {f"h_{place}": f"-u{nonce}h{place}-" for place in in_html} | {
        f"t_{place}": f"-u{nonce}t{place}-" for place in in_text
    }
    html = _layout(layout, {place: tags[f"h_{place}"] for place in in_html}, postal_address)
    shared_text = _TEXT_PART.format(
        **{place: tags[f"t_{place}"] for place in in_text}, postal_address=postal_address.strip()
    )
    tagged = {tags[f"h_{place}"]: block for place, block in in_html.items() if tags[f"h_{place}"] in html}
    tagged |= {tags[f"t_{place}"]: block for place, block in in_text.items()}
    sources = {"h_preheader": text.preheader, "h_body": body.html, "t_body": body.text}
    same_for_all = {
        tags[place]: tagged.pop(tags[place])({}, "", "")
        for place, source in sources.items()
        if tags[place] in tagged and not meta.find_undeclared_variables(_parse(for_text, source))
    }
    return CompiledMail(
        html=_replace(html, same_for_all),
        text=_replace(shared_text, same_for_all),
        _subject=subject,
        _tagged=tagged,
    )


def _layout(layout: str, tags: Mapping[str, str], postal_address: str) -> str:
    """Return the layout as HTML, with tags in the places of what differs."""
    places = set(_PLACE.findall(layout))
    if unknown := places - PLACES:
        raise PlaybookError(f"the layout holds [[{min(unknown)}]]; expected one of {', '.join(sorted(PLACES))}")
    if missing := REQUIRED_PLACES - places:
        raise PlaybookError(f"the layout lacks [[{min(missing)}]]")
    try:
        # Without fonts nothing is loaded from elsewhere: a mail that calls home tells who opened it.
        html: str = mjml2html(layout, disable_comments=True, fonts={})
    except ValueError as error:
        raise PlaybookError(f"the layout is not MJML: {error}") from error
    known = {**tags, "postal_address": str(escape(postal_address.strip()))}
    return _PLACE.sub(lambda match: known[match[1]], html)


class _Sandbox(ImmutableSandboxedEnvironment):
    """Reads a row's columns as keys first: attributes of a dict are nothing that a text may speak of."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        if type(obj) is dict and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)


class _Context(Context):
    """One person's fields, without what templates that import, extend or export need: ours cannot."""

    def __init__(self, environment: ImmutableSandboxedEnvironment, evaluation: EvalContext, fields: Fields) -> None:
        self.environment = environment
        self.eval_ctx = evaluation
        self.parent = fields  # type: ignore[assignment] # only read
        self.vars = {}


def _environment(*, html: bool, hosts: Iterable[str]) -> ImmutableSandboxedEnvironment:
    environment = _Sandbox(undefined=StrictUndefined, autoescape=html, finalize=_final, keep_trailing_newline=True)
    environment.globals.clear()
    allowed = tuple(host.lower() for host in hosts)
    known = {name: environment.filters[name] for name in _FILTERS}
    environment.filters.clear()
    environment.filters.update(
        known,
        default=_default,
        d=_default,
        link=lambda value: _Link(link(value, allowed)),
        link_part=lambda value: _Link(link_part(value)),
    )
    return environment


class _Link(str):
    """Checked and percent-encoded: it goes into the mail as it is."""

    __slots__ = ()


def _final(value: object) -> str:
    """Make whatever an expression gave fit for a mail."""
    if type(value) is str and value.isascii() and value.isalnum():
        return value  # what most values are needs no second look
    if type(value) is _Link:
        return value
    if type(value) is int:
        return str(value)
    if isinstance(value, Undefined):
        raise ValueMissing(f"merge field {value._undefined_name} is unknown and has no default")
    return harmless(value)


def _default(value: object, default: object = "", boolean: bool = False) -> object:
    """Return `default` for a value that is unknown, NULL or (with `boolean`) empty."""
    return default if isinstance(value, Undefined) or value is None or (boolean and not value) else value


def _parse(environment: ImmutableSandboxedEnvironment, source: str) -> nodes.Template:
    try:
        tree = parse(environment, source)
    except TemplateSyntaxError as error:
        raise PlaybookError(f"line {error.lineno}: {error.message}") from error
    for node in tree.find_all(nodes.Node):
        if not isinstance(node, _NODES):
            raise PlaybookError(f"line {node.lineno}: {type(node).__name__.lower()} is not allowed in a text")
        if isinstance(node, nodes.Filter) and node.name not in environment.filters:
            raise PlaybookError(f"line {node.lineno}: unknown filter {node.name!r}")
        if isinstance(node, nodes.Test) and node.name not in environment.tests:
            raise PlaybookError(f"line {node.lineno}: unknown test {node.name!r}")
    if unknown := meta.find_undeclared_variables(tree) - ROOTS:
        raise PlaybookError(f"unknown merge field {min(unknown)!r}; expected one of {', '.join(sorted(ROOTS))}")
    return tree


def _filler(environment: ImmutableSandboxedEnvironment, source: str) -> Callable[[Fields], str]:
    """Return what fills one source with a person's fields."""
    _parse(environment, source)
    template: Template = environment.from_string(source)
    root = template.root_render_func  # what `render` calls, too, once it has copied all that a template may import
    evaluation = EvalContext(environment)

    def fill(fields: Fields) -> str:
        try:
            return "".join(root(_Context(environment, evaluation, fields)))
        except _UNFILLABLE as error:  # one person's odd value must not stop the others
            raise ValueMissing(f"a merge field cannot be filled ({type(error).__name__})") from error

    return fill


def _reason(environment: ImmutableSandboxedEnvironment) -> Callable[[Fields], str]:
    """Return what says why somebody gets this; it is the same for very many, and filled in once for all of these."""
    fill = _filler(environment, WHY)

    @lru_cache(maxsize=256)
    def of(name: object, state: object) -> str:
        return fill({"feature": {"name": name, "adoption_state": state}})

    def reason(fields: Fields) -> str:
        feature = fields.get("feature", {})
        return of(feature.get("name"), feature.get("adoption_state"))

    return reason


def _replace(shared: str, substitutions: Mapping[str, str]) -> str:
    if not substitutions:
        return shared
    tags = re.compile("|".join(re.escape(tag) for tag in substitutions))
    return tags.sub(lambda match: substitutions[match[0]], shared)
