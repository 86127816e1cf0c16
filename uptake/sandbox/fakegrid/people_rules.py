"""The rules of personalizations: how many, who, each once, and what is substituted for each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from uptake.sandbox.fakegrid.problem import (
    EXAMPLE,
    Problem,
    header_rules,
    is_address,
    mailbox,
    personalizations,
    problem,
    subject_text,
    type_name,
)


def people_problems(payload: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield every reason to refuse a body that lies in its personalizations."""
    blocks, anchor = personalizations(payload), "-Personalizations-Errors"
    if not blocks:
        yield problem(
            "The personalizations field is required and must have at least one personalization.",
            "personalizations",
            anchor,
        )
        return
    if len(blocks) > 1000:
        yield problem(
            "The personalization block is limited to 1000 personalizations per API request. You have provided "
            f"{len(blocks)} personalizations. Please consider splitting this into multiple requests and resending "
            "your request.",
            "personalizations",
            anchor,
        )
        return
    if sum(_count(block, kind) for block in blocks for kind in _KINDS) > 1000:
        yield problem(
            "There is a limit of 1000 total recipients (to + cc + bcc) per request.", "personalizations", anchor
        )
        return
    seen: set[str] = set()
    for position, block in enumerate(blocks):
        yield from _block(block, f"personalizations.{position}", seen)


_KINDS = ("to", "cc", "bcc")


def _count(block: object, kind: str) -> int:
    people = block.get(kind) if isinstance(block, dict) else None
    return len(people) if isinstance(people, list) else 0


def _block(block: object, path: str, seen: set[str]) -> Iterator[Problem]:
    if not isinstance(block, dict):
        yield problem(f"Invalid type. Expected: object, given: {type_name(block)}.", path)
        return
    if not block.get("to"):
        yield problem("The to parameter is required for all personalization objects.", f"{path}.to")
    mine: set[str] = set()
    for kind in _KINDS:
        if not isinstance(block.get(kind, []), list):
            yield problem(f"Invalid type. Expected: array, given: {type_name(block[kind])}.", f"{path}.{kind}")
            continue
        for index, person in enumerate(block.get(kind, [])):
            yield from _person(person, f"{path}.{kind}.{index}")
            if isinstance(person, dict) and isinstance(person.get("email"), str):
                yield from _once(person["email"], f"{path}.{kind}", path, mine, seen)
    seen |= mine
    if "from" in block:
        yield from mailbox(block["from"], f"{path}.from")
    if "subject" in block:
        yield from subject_text(block["subject"], f"{path}.subject")
    yield from header_rules(block.get("headers"), f"{path}.headers")
    yield from _substitutions(block.get("substitutions"), f"{path}.substitutions")


def _person(person: object, path: str) -> Iterator[Problem]:
    anchor = "message.personalizations.to"
    if not isinstance(person, dict) or not person.get("email"):
        kind = path.split(".")[-2]
        yield problem(
            f"The {kind} array must at least have an 'email' parameter with a valid email address and it may also "
            f"contain a 'name' parameter. e.g. {EXAMPLE}.",
            f"{path}.email",
            anchor,
        )
        return
    if not is_address(person["email"]):
        yield problem("Does not contain a valid address.", f"{path}.email", anchor)
    name = person.get("name", "")
    if not isinstance(name, str):
        yield problem(f"Invalid type. Expected: string, given: {type_name(name)}.", f"{path}.name", anchor)
    elif re.search(r"[;,\r\n]", name):
        yield problem("The name cannot contain ';', ',' or CRLF characters.", f"{path}.name", anchor)


def _once(address: str, field: str, path: str, mine: set[str], seen: set[str]) -> Iterator[Problem]:
    lower = address.lower()
    if lower in mine:
        yield problem(
            "Each email address in the personalization block should be unique between to, cc, and bcc. We found the "
            f"first duplicate instance of [{address}] in the {field} field.",
            path,
            "-Personalizations-Errors",
        )
    elif lower in seen:
        yield problem(
            "Each unique email address in the personalizations array should only be included once. You have included "
            f"[{address}] more than once.",
            field,
            "-Personalizations-Errors",
        )
    mine.add(lower)


def _substitutions(tags: object, path: str) -> Iterator[Problem]:
    if tags is None:
        return
    if not isinstance(tags, dict) or not all(isinstance(value, str) for value in tags.values()):
        yield problem(
            "The substitution values must be an object of key/value pairs, where the values are all strings.", path
        )
        return
    if len(tags) > 150:
        yield problem("Substitutions are limited to 150 items per personalization block.", path)
    if sum(len(tag.encode()) + len(value.encode()) for tag, value in tags.items()) > 10_000:
        yield problem("Substitutions are limited to 10000 bytes per personalization block.", path)
