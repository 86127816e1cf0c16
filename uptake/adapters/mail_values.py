"""Makes values from customer data harmless wherever a mail may carry them: text, HTML, links, headers.

It knows nothing of templates; escaping for HTML is left to the template engine.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from datetime import date
from functools import lru_cache
from urllib.parse import quote, urlsplit, urlunsplit

from uptake.errors import UptakeError

_BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff"
_CONTROLS = re.compile(f"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff{_BIDI}]")
# SendGrid reads <% %>, {{ }}, [tag], %tag% and -tag- in a body. A word joiner beside these characters leaves what
# a reader sees as it is and no tag whole, also where two values meet.
_TAG_CHARACTERS = re.compile(r"[{}\[\]%]")
_DASHED = re.compile(r"-[^\s-]+(?=-)")
_WORD_JOINER = "\u2060"
_NOT_IN_NAMES = re.compile(r"[;,<>\"{}\[\]%\\]+")
_LOCAL_PART = r"[^\s@<>()\[\],;:\\\"\x00-\x1f\x7f]{1,64}"
_ADDRESS = re.compile(_LOCAL_PART + r"@(?:[A-Za-z0-9][A-Za-z0-9-]{0,62}\.){1,8}[A-Za-z0-9-]{2,63}")
_NOT_IN_URLS = re.compile(r"[\s\"<>\\^`{|}]")
_PATH_SAFE = "/%:@!$&'()*+,;=~-._"


class ValueMissing(UptakeError):
    """A merge field has neither a usable value nor a default: this person cannot be mailed this text."""


def plain(value: object) -> str:
    """Return a value as one line of text without control or bidi characters. Raises ValueMissing for None."""
    if value is None:
        raise ValueMissing("a merge field is empty and has no default")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, date):
        return f"{value.day} {value:%B %Y}"
    text = str(value)
    if text.isascii() and text.isprintable():
        return text
    return _CONTROLS.sub(" ", text)


def harmless(value: object) -> str:
    """Return a value as text in which the mail service finds no tag of its own. Raises ValueMissing for None."""
    text = plain(value)
    if text.isalnum():
        return text
    text = _TAG_CHARACTERS.sub(rf"{_WORD_JOINER}\g<0>{_WORD_JOINER}", text)
    if _DASHED.search(text):
        text = text.replace("-", "\u2011")  # the non-breaking hyphen looks the same
    return text


def display_name(value: str | None) -> str | None:
    """Return a name fit to stand before an address, or None when nothing of it is left."""
    if value is None:
        return None
    if value.isascii() and value.replace(" ", "a").isalpha():
        return " ".join(value.split())[:200] or None  # letters and spaces need no second look
    text = _NOT_IN_NAMES.sub(" ", unicodedata.normalize("NFC", plain(value)))
    return " ".join(text.split())[:200] or None


def header(value: str) -> str:
    """Return a header's value; refuse one that would start another header. Raises ValueMissing."""
    is_plain = value.isascii() and value.isprintable()
    if (not is_plain and _CONTROLS.search(value)) or not value.strip():
        raise ValueMissing("a header is empty or holds a line break or another control character")
    return " ".join(value.split())


def is_address(value: str | None) -> bool:
    """Tell whether this can be put into a request as an address; whether it exists, only a bounce tells."""
    return value is not None and value.isascii() and len(value) <= 320 and _ADDRESS.fullmatch(value) is not None


def link(value: object, hosts: Iterable[str]) -> str:
    """Return a link that may stand in a mail: https, to an allowed host. Raises ValueMissing."""
    return _link("" if value is None else str(value).strip(), tuple(hosts))


@lru_cache(maxsize=4096)  # a whole audience is sent the same few guides
def _link(text: str, hosts: tuple[str, ...]) -> str:
    if not text or _CONTROLS.search(text) or _NOT_IN_URLS.search(text):
        raise ValueMissing("a link is empty or holds characters that no link may hold")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ValueMissing("a link cannot be read") from error
    if parts.scheme.lower() != "https":
        raise ValueMissing("a link does not start with https://")
    if (parts.hostname or "") not in {host.lower() for host in hosts} or "@" in parts.netloc or port not in (None, 443):
        raise ValueMissing("a link leads to a host that is not in allowed_links")
    return urlunsplit(
        (
            "https",
            parts.netloc.lower(),
            quote(parts.path, safe=_PATH_SAFE),
            quote(parts.query, safe=_PATH_SAFE + "?"),
            quote(parts.fragment, safe=_PATH_SAFE + "?"),
        )
    )


def link_part(value: object) -> str:
    """Return a value percent-encoded, as one piece of a link's path or query. Raises ValueMissing for None."""
    return quote(plain(value), safe="")
