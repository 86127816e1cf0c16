"""Taking one person out of texts: their address wherever it stands, and their names where their address stands too."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

#: But for U+DC80 to U+DCFF, by which bytes that are no UTF-8 pass through a text.
_HALF_A_PAIR = re.compile("[\ud800-\udc7f\udd00-\udfff]")
_ADDRESS_KEYS = frozenset({"address", "email", "e_mail", "e-mail", "email_address", "mail"})


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Who is to be forgotten. `token` stands where an identity is needed and theirs was; repr tells nobody anything."""

    address: str
    names: Sequence[str]
    token: str

    def __repr__(self) -> str:
        return f"Subject({self.token})"


def mentions(text: str, address: str) -> bool:
    """Tell whether a text holds an address, whatever its case, or escaped as in JSON and in links."""
    lowered = text.lower()
    return any(form.lower() in lowered for form in _forms(address.lower()))


def redacted(line: str, subject: Subject) -> str:
    """Return a line without the person: of JSON each value by itself, so that it stays JSON; else the text."""
    if not mentions(line, subject.address):
        return line
    try:
        document = json.loads(line)
    except ValueError:
        text = _without(line, subject.address, subject.token)
        for name in sorted((name for name in subject.names if len(name) > 1), key=len, reverse=True):
            text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "erased", text, flags=re.IGNORECASE)
        return text
    document = _redacted_value(document, subject)
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    # Half a surrogate pair, which JSON may hold in its escaped form, fits into no file in any other.
    return json.dumps(document, separators=(",", ":")) if _HALF_A_PAIR.search(text) else text


def _redacted_value(value: Any, subject: Subject, key: str = "") -> Any:
    if isinstance(value, dict):
        return {_redacted_text(name, subject): _redacted_value(one, subject, name) for name, one in value.items()}
    if isinstance(value, list):
        return [_redacted_value(one, subject, key) for one in value]
    if not isinstance(value, str):
        return value
    if value.strip().lower() == subject.address.lower():
        return None if key.lower() in _ADDRESS_KEYS else subject.token
    if value.strip().lower() in {name.strip().lower() for name in subject.names}:
        return "erased"
    return _redacted_text(value, subject)


def _redacted_text(text: str, subject: Subject) -> str:
    return _without(text, subject.address, subject.token)


def _without(text: str, address: str, token: str) -> str:
    pattern = "|".join(re.escape(form) for form in sorted(_forms(address), key=len, reverse=True))
    return re.sub(pattern, token, text, flags=re.IGNORECASE)


def _forms(address: str) -> set[str]:
    """As it is, and as it is written in JSON, links, forms and HTML, whatever of it they escape."""
    in_json = json.dumps(address)[1:-1]
    in_links = {quote(address, safe=kept) for kept in ("", "@", "+", "@+")}
    forms = {address, in_json, address.replace("@", "%40"), html.escape(address), *in_links}
    return forms | {form.replace("@", "\\u0040") for form in (address, in_json)}
