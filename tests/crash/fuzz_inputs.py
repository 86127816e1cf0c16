"""What T17 feeds: real inputs, each bent in one to three places. A seed makes the same ones again.

Trees are bent where their structure is (a value, a key, a branch of another input), texts and bytes anywhere.
"""

from __future__ import annotations

import ast
import json
import random
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

Tree = Any  # what JSON and YAML can say

#: Stands for arrays inside one another, which no writer of JSON would write so deep.
_DEEP = "@deep@"
_DEPTHS = (20, 200, 1_500, 60_000)
_LONG = (3_000, 70_000)

SCALARS: tuple[Tree, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**53 + 1, 2**63, -(2**63) - 1, 10**400, 0.1, -0.0, 1e308, 5e-324, float("nan"),
    float("-inf"), "", " ", "\u0000", "\ud800", "\udfff\ud800", "\u202e", "\u2028", "\ufeff", "a\u0301", "😀", "\r\n",
    "nan", "Infinity", "1e999", "0x10", "1_000", "٣", "true", "null", "~", "2026-02-30", "2026-03-03T25:61:61Z",
    "9999-12-31T23:59:60+23:59", "-0001-01-01", "infinity", "1772528400", "28d", "-1d", "99999999999999999999d", "100%",
    "1e3%", "Europe/Nowhere", "../../etc/passwd", "/etc/passwd", "CON", "a" * 300, "{{ 7*7 }}", "{% for x in y %}",
    "[[body]]", "<script>alert(1)</script>", "' or 1=1 --", "$.*", "%s%n", "=cmd()", "days(1)", "__class__", _DEEP, {},
    [], [[]], {"": None}, [None] * 50,
)  # fmt: skip

_DEEPEST = 100  # levels of a tree that are bent


def bent_tree(tree: Tree, chance: random.Random, spare: Sequence[Tree]) -> Tree:
    """Return a copy, bent in one to three places; `spare` are branches of other inputs."""
    copy = json.loads(json.dumps(tree, default=str))
    for _ in range(chance.choice((1, 1, 2, 3))):
        places = [((), copy), *_places(copy)]
        path, found = chance.choice(places)
        copy = _put(copy, path, _bent_value(found, chance, spare))
    return copy


def _places(tree: Tree, path: tuple[Any, ...] = ()) -> list[tuple[tuple[Any, ...], Tree]]:
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    found = []
    for key, value in items:
        found.append(((*path, key), value))
        if len(path) < _DEEPEST:  # a branch may be as deep as Python lets it
            found += _places(value, (*path, key))
    return found


def _put(tree: Tree, path: tuple[Any, ...], value: Tree) -> Tree:
    if not path:
        return value
    node = tree
    for step in path[:-1]:
        node = node[step]
    node[path[-1]] = value
    return tree


def _bent_value(value: Tree, chance: random.Random, spare: Sequence[Tree]) -> Tree:
    ways: list[Callable[[], Tree]] = [
        lambda: deepcopy(chance.choice(SCALARS)),  # it may be bent in its turn
        lambda: json.loads(json.dumps(chance.choice(spare), default=str)),
        lambda: [value],
        lambda: {str(chance.choice(SCALARS))[:40]: value},
        lambda: str(value),
        lambda: "x" * chance.choice(_LONG),
    ]
    if isinstance(value, dict) and value:
        key = chance.choice(list(value))
        rest = {name: one for name, one in value.items() if name != key}
        ways += [
            lambda: rest,
            lambda: {**rest, chance.choice((key.upper(), f"{key} ", key[:-1], f"{key}s", "", key[::-1])): value[key]},
            lambda: {**value, str(chance.choice(SCALARS))[:40]: deepcopy(chance.choice(SCALARS))},
        ]
    if isinstance(value, list) and value:
        ways += [lambda: value[1:], lambda: value * 3, lambda: value[::-1]]
    if isinstance(value, str):
        ways += [lambda: bent_text(value, chance, str(chance.choice(spare)))] * 3
    if isinstance(value, (int, float)):
        ways += [
            lambda: -value,
            lambda: value * 10**12,
            lambda: value * (1 / 7 if abs(value) < 1e300 else 7),
            lambda: f"{value}",
        ]
    return chance.choice(ways)()


def written_json(tree: Tree, chance: random.Random) -> bytes:
    """Return a tree as a line of JSON, now and then as no JSON writer would."""
    text = json.dumps(tree, ensure_ascii=chance.random() < 0.7, separators=chance.choice(((",", ":"), (", ", ": "))))
    depth = chance.choice(_DEPTHS)
    text = text.replace(f'"{_DEEP}"', chance.choice(("[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth)))
    if isinstance(tree, dict) and tree and chance.random() < 0.05:  # a key that comes twice
        text = text[:-1] + ", " + json.dumps(chance.choice(list(tree))) + ": 1}"
    return text.encode("utf-8", "surrogatepass")


_PIECES = (
    "\t", "\n", "\r", "\u0000", "\u0085", "\u2028", "\ufeff", "\u00a0", "\ud800", "'", '"', "\\", "`", "#", ":",
    ": ", "-", "- ", "?", "? ", "|", ">", "%", "@", "&a ", "*a", "<<: *a",
    "!!python/object/apply:os.system ['true']", "!!binary x", "---\n", "...\n", "%YAML 9.9\n", "{", "}", "[", "]",
    "{{", "}}", "{%", "[[", "]]", "(", ")", ",", "<", ">=", "==", "=", ":=", "not ", "and ", "or ", "is ", "in ",
    "lambda: ", "if ", "else ", "await ", "*", "**", "/", "//", "%", "@", "~", "^", "0" * 5_000, "9" * 30, "1e999",
    "1j", "0o7", "1_0", "b''", "f'{1}'", "'''", "é", "\u202e", "...", "None", "True",
)  # fmt: skip


def bent_text(text: str, chance: random.Random, other: str) -> str:
    """Return a text with something in it, out of it, moved, or from another text."""
    for _ in range(chance.choice((1, 1, 2, 3))):
        here, there = sorted((chance.randint(0, len(text)), chance.randint(0, len(text))))
        match chance.randrange(8):
            case 0 | 1:
                text = text[:here] + chance.choice(_PIECES) + text[here:]
            case 2:
                text = text[:here] + text[min(there, here + 40) :]
            case 3:
                text = text[:there] + text[here:there] * chance.choice((1, 2, 20)) + text[there:]
            case 4:
                text = text[:here] + other[len(other) // 3 :][:200] + text[here:]
            case 5:
                lines = text.splitlines(keepends=True) or [""]
                line = chance.randrange(len(lines))
                lines[line] = chance.choice(
                    ("", lines[line] * 2, f"  {lines[line]}", lines[line][2:], chance.choice(lines))
                )
                text = "".join(lines)
            case 6:
                text = text[:here]
            case _:
                text = text[:here] + text[here:there].swapcase() + text[there:]
    return text


def bent_bytes(data: bytes, chance: random.Random, other: bytes) -> bytes:
    """The same for bytes: bits flipped, cut, doubled, from another input."""
    for _ in range(chance.choice((1, 1, 3))):
        here, there = sorted((chance.randint(0, len(data)), chance.randint(0, len(data))))
        match chance.randrange(6):
            case 0 if data:
                place = min(here, len(data) - 1)
                data = data[:place] + bytes([data[place] ^ 1 << chance.randrange(8)]) + data[place + 1 :]
            case 1:
                data = data[:here] + data[there:]
            case 2:
                data = data[:there] + data[here:there] + data[there:]
            case 3:
                noise = chance.choice(
                    (b"\xff", b"\0", b"\xed\xa0\x80", b"\xc3", b"\xf0\x9f", b"\xef\xbb\xbf", b"\x1f\x8b")
                )
                data = data[:here] + noise + data[here:]
            case 4:
                data = data[:here] + other[: chance.randint(0, 400)]
            case _:
                data = data[:here] + chance.randbytes(chance.randint(1, 8)) + data[here:]
    return data


class ConditionBender:
    """Bends conditions by Python's own tree of them: branches of other conditions, and what the language refuses."""

    _ODD = (
        "lambda: 1", "x if y else z", "a[0]", "(a := 1)", "[x for x in y]", "f'{account.plan}'", "days(10**9)",
        "date('2026-02-30')", "date(2026)", "days('1')", "days(-36600)", "date('9999-12-31') + days(36600)", "1 / 0",
        "account.arr / (1 / account.arr)", "account.plan.upper()", "__import__('os')", "today", "today - today",
        "today - account.created_at", "None", "[]", "()", "{}", "1e308 * 1e308", "-True", "not None", "account",
        "9" * 20,
        "(1 < 2 < 3 > 2)", "'a' 'b'", "~account.arr", "account.arr @ 2", "account.plan in account.plan", "...", "b'a'",
        "account.plan in ['a', None, 1]", "is_none", "*account.plan", "days(1) + days(1)", "-days(3)", "today + 1",
    )  # fmt: skip

    def __init__(self, conditions: Sequence[str]) -> None:
        """Take conditions that are read."""
        self._texts = [" ".join(text.split()) for text in conditions]
        self._branches: dict[type, list[str]] = {}
        for text in self._texts:
            for node in ast.walk(ast.parse(text, mode="eval")):
                if isinstance(node, ast.expr):
                    self._branches.setdefault(type(node), []).append(ast.unparse(node))
        self._every = [branch for found in self._branches.values() for branch in found]

    def bent(self, chance: random.Random) -> str:
        """Return one condition, mostly of the right shape."""
        text, other = chance.choice(self._texts), chance.choice(self._texts)
        match chance.randrange(10):
            case 0:
                return bent_text(text, chance, other)
            case 1:
                count = chance.choice((2, 30, 120, 3_000))
                return chance.choice((f" {chance.choice(('and', 'or'))} ".join([text] * count), "not " * count + text))
            case 2:
                count = chance.choice((3, 35, 90, 250, 6_000))
                return "(" * count + text + ")" * count
            case _:
                return self._spliced(text, chance)

    def _spliced(self, text: str, chance: random.Random) -> str:
        tree = ast.parse(text, mode="eval")
        for _ in range(chance.choice((1, 1, 2))):
            nodes = [node for node in ast.walk(tree) if isinstance(node, ast.expr)]
            victim = chance.choice(nodes)
            alike = self._branches.get(type(victim), self._every)  # fits more often than not
            put = chance.choice(chance.choices((self._ODD, self._every, alike), (2, 2, 6))[0])
            form = chance.choice((*("{new}",) * 10, "not {old}", "-({old})", "({old}) + ({new})", "({old}) == ({new})",
                                  "({old}) / ({new})", "({old}) is None", "({old}) in [{new}]", "({old}) and ({new})",
                                  "({old}) - ({new})", "1 <= ({old}) < ({new})"))  # fmt: skip
            grafted = form.format(old=ast.unparse(victim), new=put)
            try:
                tree = _Graft(victim, ast.parse(grafted, mode="eval").body).visit(tree)
            except SyntaxError:
                return grafted
        try:
            return ast.unparse(ast.fix_missing_locations(tree))
        except ValueError:  # a branch inside an f-string, which nobody can write
            return text


class _Graft(ast.NodeTransformer):
    def __init__(self, victim: ast.expr, scion: ast.expr) -> None:
        self._victim, self._scion = victim, scion

    def visit(self, node: ast.AST) -> Any:
        return self._scion if node is self._victim else super().visit(node)
