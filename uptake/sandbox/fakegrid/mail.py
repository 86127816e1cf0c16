"""A mail/send body seen from its recipients: who they are, and what each of them gets."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

#: The custom argument under which the engine carries its send id.
SEND_ID = "uptake_send_id"

_HREF = re.compile(r"""href=(?:"([^"]*)"|'([^']*)')""")
_NOT_CONTENT = ("unsubscribe", "preferences")


@dataclass(frozen=True, kw_only=True)
class Mail:
    """One mail as its recipient sees it, substitutions made."""

    to: str
    to_name: str
    sender: str
    sender_name: str
    reply_to: str
    subject: str
    text: str
    html: str
    headers: Mapping[str, str]


def recipients(personalization: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the {email, name?} objects of to, cc and bcc."""
    for kind in ("to", "cc", "bcc"):
        yield from personalization.get(kind) or ()


def mail_to(payload: Mapping[str, Any], position: int, address: str) -> Mail:
    """Return the mail that personalization `position` brings to one of its recipients."""
    personalization = payload["personalizations"][position]
    tags = personalization.get("substitutions") or {}
    sender = personalization.get("from") or payload["from"]
    contents = {part["type"].lower(): part["value"] for part in payload["content"]}
    person = next(one for one in recipients(personalization) if one["email"] == address)
    return Mail(
        to=address,
        to_name=person.get("name") or "",
        sender=sender["email"],
        sender_name=sender.get("name") or "",
        reply_to=substitute((payload.get("reply_to") or {}).get("email") or "", tags),
        subject=_subject(payload, personalization),
        text=substitute(contents.get("text/plain", ""), tags),
        html=substitute(contents.get("text/html", ""), tags),
        headers=_headers(payload, personalization),
    )


def accepted_lines(payload: Mapping[str, Any], *, message_id: str, accepted_at: str) -> list[dict[str, Any]]:
    """Return what the accept log keeps of each recipient: all that events and reactions need, and no body."""
    lines = []
    contents = {part["type"].lower(): part["value"] for part in payload["content"]}
    for position, personalization in enumerate(payload["personalizations"]):
        headers = _headers(payload, personalization)
        custom_args = {**(payload.get("custom_args") or {}), **(personalization.get("custom_args") or {})}
        body = substitute(contents.get("text/html", ""), personalization.get("substitutions") or {})
        shared = {
            "accepted_at": accepted_at,
            "message_id": message_id,
            "position": position,
            "subject": _subject(payload, personalization),
            "links": _links(body, skip=one_click_url(headers)),
            "unsubscribe_url": one_click_url(headers),
            "custom_args": custom_args,
            "categories": payload.get("categories") or [],
            "group_id": (payload.get("asm") or {}).get("group_id"),
        }
        send_id = custom_args.get(SEND_ID, "")
        lines += [{"send_id": send_id, "to": one["email"], **shared} for one in recipients(personalization)]
    return lines


def substitute(text: str, tags: Mapping[str, str]) -> str:
    """Replace every tag by its value, in one pass: a value that looks like a tag stays as it is."""
    if not tags or not text:
        return text
    return "".join(
        tags[part] if is_tag else part for part, is_tag in zip(*_split(text, tuple(sorted(tags))), strict=True)
    )


@lru_cache(maxsize=16)  # a thousand recipients share one text and one set of tags
def _split(text: str, tags: tuple[str, ...]) -> tuple[list[str], list[bool]]:
    pattern = "|".join(re.escape(tag) for tag in sorted(filter(None, tags), key=len, reverse=True))
    if not pattern:
        return [text], [False]
    parts = re.split(f"({pattern})", text)
    return parts, [index % 2 == 1 for index in range(len(parts))]


def one_click_url(headers: Mapping[str, str]) -> str | None:
    """Return the address that takes a one-click unsubscribe (RFC 8058), None when the mail offers none."""
    lower = {name.lower(): value for name, value in headers.items()}
    if lower.get("list-unsubscribe-post", "").replace(" ", "") != "List-Unsubscribe=One-Click":
        return None
    found = re.search(r"<(https?://[^>\s]+)>", lower.get("list-unsubscribe", ""))
    return found[1] if found else None


def _subject(payload: Mapping[str, Any], personalization: Mapping[str, Any]) -> str:
    subject = personalization.get("subject") or payload.get("subject") or ""
    return substitute(subject, personalization.get("substitutions") or {})


def _headers(payload: Mapping[str, Any], personalization: Mapping[str, Any]) -> dict[str, str]:
    return {**(payload.get("headers") or {}), **(personalization.get("headers") or {})}


def _links(body: str, *, skip: str | None) -> list[str]:
    """Return the https links a reader may follow, in order, each once."""
    found = (html.unescape(double or single).strip() for double, single in _HREF.findall(body))
    return [url for url in dict.fromkeys(found) if url.lower().startswith("https://") and _is_content(url, skip)]


def _is_content(url: str, skip: str | None) -> bool:
    path = urlsplit(url).path.lower() if url != skip else _NOT_CONTENT[0]
    return not any(word in path for word in _NOT_CONTENT)
