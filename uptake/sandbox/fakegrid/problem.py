"""What the rules share: SendGrid's error entries, and values that occur in several places of a body."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

EXAMPLE = '{"email": "example@example.com"} or {"email": "example@example.com", "name": "Example Recipient"}'
CRLF = re.compile(r"[\r\n]")

_HELP = "http://sendgrid.com/docs/API_Reference/Web_API_v3/Mail/errors.html#"
_ATOM = r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+"
_ADDRESS = re.compile(rf"{_ATOM}(?:\.{_ATOM})*@(?P<domain>[a-z0-9.-]+)", re.IGNORECASE)
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE)
# fmt: off
_RESERVED_HEADERS = frozenset((
    "x-sg-id", "x-sg-eid", "received", "dkim-signature", "content-type", "content-transfer-encoding",
    "to", "from", "subject", "reply-to", "cc", "bcc",
))
# fmt: on

Problem = dict[str, str | None]


def bad_request(message: str = "Bad Request", field: str | None = None, help_: str | None = None) -> Problem:
    """Return one entry of SendGrid's error envelope."""
    return {"message": message, "field": field, "help": help_}


def problem(message: str, field: str, anchor: str = "") -> Problem:
    """Return an entry about one field; `anchor` is its place on the help page where that is not the field's name."""
    return {"message": message, "field": field, "help": _HELP + (anchor or f"message.{_without_indexes(field)}")}


def _without_indexes(field: str) -> str:
    return ".".join(part for part in field.split(".") if not part.isdigit())


def is_address(value: object) -> bool:
    """Tell whether SendGrid would take this as an e-mail address."""
    if not isinstance(value, str) or len(value) > 320:
        return False
    found = _ADDRESS.fullmatch(value)
    if not found or len(value.split("@")[0]) > 64:
        return False
    labels = found["domain"].split(".")
    return len(labels) > 1 and all(_LABEL.fullmatch(label) for label in labels)


def personalizations(payload: Mapping[str, Any]) -> list[Any]:
    """Return the personalizations, unchecked; none when they are not a list."""
    found = payload.get("personalizations")
    return found if isinstance(found, list) else []


def type_name(value: object) -> str:
    """Name the JSON type of a value."""
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")


def mailbox(value: object, path: str) -> Iterator[Problem]:
    """Check one {email, name?} of a sender or of replies."""
    anchor = f"message.{_without_indexes(path)}"
    if not isinstance(value, dict) or not is_address(value.get("email")):
        word = path.split(".")[-1] if not path[-1].isdigit() else path.split(".")[-2]
        yield problem(f"The {word} email does not contain a valid address.", f"{path}.email", anchor)
    elif not isinstance(value.get("name") or "", str) or CRLF.search(value.get("name") or ""):
        yield problem("The name must be a string without CRLF characters.", f"{path}.name", anchor)


def subject_text(value: object, path: str) -> Iterator[Problem]:
    """Check a subject, of the message or of one personalization."""
    if not isinstance(value, str) or not value:
        yield problem("The subject of your email must be a string at least one character in length.", path)
    elif CRLF.search(value):
        yield problem("The subject of your email cannot contain CRLF characters.", path)


def header_rules(headers: object, path: str) -> Iterator[Problem]:
    """Check headers, of the message or of one personalization."""
    if headers is None:
        return
    if not isinstance(headers, dict):
        yield problem(f"Invalid type. Expected: object, given: {type_name(headers)}.", path)
        return
    if not all(isinstance(value, str) for value in headers.values()):
        yield problem("The header values must be strings.", path)
    elif any(CRLF.search(value) for value in headers.values()):
        yield problem("The header values cannot contain CRLF characters.", path)
    if len({name.lower() for name in headers}) != len(headers):
        yield problem("The headers can't contain duplicate keys.", path)
    for name in headers:
        if not re.fullmatch(r"[!-9;-~]+", name):
            yield problem("Header keys can't contain non-ASCII characters and empty spaces.", path)
        if name.lower() in _RESERVED_HEADERS:
            yield problem(f"Header can not be one of the reserved keys. You provided {name}.", path)
