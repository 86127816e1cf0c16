"""What the YAML reader and pydantic found wrong, in words for whoever wrote the file: what is there, what should be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from ruamel.yaml.error import MarkedYAMLError

_DUPLICATE = re.compile(r'found duplicate key "(?P<key>[^"]*)"')
_CHARACTER = re.compile(r"found character (?P<character>'.*') that cannot start")
_UNCLOSED = re.compile(r"expected ',' or '(?P<bracket>[}\]])'")
_QUOTED = "a value that holds `: `, or goes on after a quote or a bracket, stands in quotes as a whole"


def yaml_problem(error: MarkedYAMLError) -> tuple[int, str]:
    """Return the line, counted from 0, and what is wrong there."""
    mark, context = error.problem_mark or error.context_mark, error.context_mark
    line = mark.line if mark else 0
    began = context.line if context else line
    text = " ".join(str(error.problem or error).split())
    if match := _DUPLICATE.match(text):
        return line, f"the key `{match['key']}` stands twice here; expected once"
    if match := _CHARACTER.match(text):
        if match["character"] == r"'\t'":
            return line, "not YAML: a tab; indent with spaces"
        return line, f"not YAML: {match['character']} begins a value; put the value in quotes"
    if match := _UNCLOSED.match(text):
        opening = "{" if match["bracket"] == "}" else "["
        return began, f"not YAML: `{opening}` is not closed where `{match['bracket']}` or a comma was expected"
    match text:
        case "found unexpected end of stream":
            return began, "not YAML: a quote that is never closed"
        case "could not find expected ':'":
            return began, "not YAML: no `: ` in this line; expected a key and its value, like `topic: product-training`"
        case "mapping values are not allowed here":
            return line, f"not YAML: a second `: `, or deeper than the key above it; {_QUOTED}"
        case "expected <block end>, but found '<scalar>'":
            return line, f"not YAML: the value goes on after its end; {_QUOTED}"
        case "expected <block end>, but found '?'":
            return line, "not YAML: a key among items that begin with `- `; expected either keys or items"
        case "expected <block end>, but found '-'":
            return line, "not YAML: an item that begins with `- ` among keys; expected either keys or items"
        case _ if "<block mapping start>" in text:
            return line, "not YAML: indented otherwise than the keys beside it"
    return line, f"not YAML: {text}"


def model_problem(error: Mapping[str, Any], *, is_private: bool) -> str:
    """Return one of pydantic's errors as what was expected and found; a private value is not repeated."""
    if error["type"] == "missing":
        return "the key is missing"
    told = f"{_expected(error)}{_found(error['input'], is_private=is_private)}"
    return told + _alike(error["input"], str(error.get("ctx", {}).get("expected", "")))


def _expected(error: Mapping[str, Any]) -> str:
    told, context = str(error["msg"]), error.get("ctx", {})
    match str(error["type"]):
        case "string_type":
            return "expected a text" + ("" if error["input"] is None else " (a number as a text stands in quotes)")
        case "dict_type" | "model_type" | "model_attributes_type" | "mapping_type":
            return "expected keys and values, like `{key: value}`, or one below the other"
        case "tuple_type" | "list_type":
            return "expected a list, like `[a, b]`"
        case "bool_type" | "bool_parsing":
            return "expected true or false"
        case "int_type" | "int_parsing" | "int_from_float":
            return "expected a whole number"
        case "date_type" | "date_parsing" | "date_from_datetime_parsing" | "date_from_datetime_inexact":
            return "expected a day of the calendar, like 2026-01-31"
        case "greater_than_equal":
            return f"expected at least {context['ge']}"
        case "less_than_equal":
            return f"expected at most {context['le']}"
        case "string_too_short":
            return f"expected a text of at least {_count(context['min_length'], 'character')}"
        case "string_too_long":
            return f"expected a text of at most {_count(context['max_length'], 'character')}"
        case "too_short":
            return f"expected at least {_count(context['min_length'], 'item')}"
        case "too_long":
            return f"expected at most {_count(context['max_length'], 'item')}"
        case "enum" | "literal_error":
            return f"expected {context['expected']}"
    return told[:1].lower() + told[1:]


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _alike(found: object, expected: str) -> str:
    alike = get_close_matches(str(found).lower(), re.findall(r"'([^']*)'", expected), n=1)
    return f"; did you mean `{alike[0]}`?" if alike else ""


def _found(value: object, *, is_private: bool) -> str:
    if value is None:
        return "; found nothing"
    if isinstance(value, dict):
        return "; found keys and values"
    if isinstance(value, (list, tuple)):
        return "; found a list"
    return "" if is_private else f"; found {value!r}"[:200]
