"""The rules of the message itself: everything in a body but its personalizations."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from uptake.sandbox.fakegrid.problem import (
    EXAMPLE,
    Problem,
    header_rules,
    mailbox,
    personalizations,
    problem,
    subject_text,
    type_name,
)

_HORIZON_SECONDS = 72 * 3600


def message_problems(payload: Mapping[str, Any], *, now: datetime, groups: frozenset[int] | None) -> list[Problem]:
    """Return every reason to refuse a body that lies outside its personalizations."""
    return [
        *_sender(payload),
        *_reply_to(payload),
        *_subject(payload),
        *_content(payload),
        *_attachments(payload),
        *_template(payload),
        *header_rules(payload.get("headers"), "headers"),
        *_categories(payload),
        *_custom_args(payload),
        *_send_at(payload, now),
        *_asm(payload, groups),
        *_delivery(payload),
        *_settings(payload),
    ]


def _sender(payload: Mapping[str, Any]) -> Iterator[Problem]:
    if not payload.get("from"):
        yield problem(
            "The from object must be provided for every email send. It is an object that requires the email "
            f"parameter, but may also contain a name parameter. e.g. {EXAMPLE}.",
            "from.email",
            "message.from",
        )
        return
    yield from mailbox(payload["from"], "from")


def _reply_to(payload: Mapping[str, Any]) -> Iterator[Problem]:
    if "reply_to" in payload and "reply_to_list" in payload:
        yield problem("You cannot use both reply_to and reply_to_list.", "reply_to")
        return
    if "reply_to" in payload:
        yield from mailbox(payload["reply_to"], "reply_to")
    several = payload.get("reply_to_list", [])
    if not isinstance(several, list) or len(several) > 1000:
        yield problem("The reply_to_list must be an array of at most 1000 recipients.", "reply_to_list")
        return
    addresses = [one.get("email") for one in several if isinstance(one, dict)]
    if len(set(map(str, addresses))) != len(addresses):
        yield problem("Each email address in the reply_to_list must be unique.", "reply_to_list")
    for index, one in enumerate(several):
        yield from mailbox(one, f"reply_to_list.{index}")


def _subject(payload: Mapping[str, Any]) -> Iterator[Problem]:
    if "subject" in payload:
        yield from subject_text(payload["subject"], "subject")
    elif not all(isinstance(one, dict) and "subject" in one for one in personalizations(payload) or [None]):
        yield problem(
            "The subject is required. You can get around this requirement if you use a template with a subject "
            "defined or if every personalization has a subject defined.",
            "subject",
        )


def _content(payload: Mapping[str, Any]) -> Iterator[Problem]:
    parts = payload.get("content")
    if not isinstance(parts, list) or not parts:
        yield problem(
            "Unless a valid template_id is provided, the content parameter is required. There must be at least one "
            "defined content block. We typically suggest both text/plain and text/html blocks are included, but only "
            "one block is required.",
            "content",
        )
        return
    kinds = []
    for index, part in enumerate(parts):
        kind, value = (part.get("type"), part.get("value")) if isinstance(part, dict) else (None, None)
        if not isinstance(kind, str) or not kind:
            yield problem(
                "A content type is required, this tells email clients how to display the email.",
                f"content.{index}.type",
            )
        elif re.search(r"[;\r\n]", kind):
            yield problem("Cannot contain ';', or CRLF characters.", f"content.{index}.type")
        if not isinstance(value, str) or not value:
            yield problem(
                "The content value must be a string at least one character in length.", f"content.{index}.value"
            )
        kinds.append(str(kind).lower())
    rank = {"text/plain": 0, "text/html": 1}
    if [rank.get(kind, 2) for kind in kinds] != sorted(rank.get(kind, 2) for kind in kinds):
        yield problem(
            "Following RFC 1341, section 7.2, if either text/html or text/plain are to be sent in your email: "
            "text/plain needs to be first, followed by text/html, followed by any other content.",
            "content",
        )


def _attachments(payload: Mapping[str, Any]) -> Iterator[Problem]:
    attachments = payload.get("attachments", [])
    if not isinstance(attachments, list):
        yield problem(f"Invalid type. Expected: array, given: {type_name(attachments)}.", "attachments")
        return
    for index, one in enumerate(attachments):
        given: Mapping[str, Any] = one if isinstance(one, dict) else {}
        if not _is_base64(given.get("content")):
            yield problem("The attachment content must be base64 encoded.", f"attachments.{index}.content")
        if not isinstance(given.get("filename"), str) or not given["filename"]:
            yield problem("filename is required.", f"attachments.{index}.filename")
        elif re.search(r"[;,\r\n]", given["filename"]):
            yield problem(
                "The filename of your attachment cannot contain CRLF characters.", f"attachments.{index}.filename"
            )


def _is_base64(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(base64.b64decode(value, validate=True))
    except (binascii.Error, ValueError):
        return False


def _template(payload: Mapping[str, Any]) -> Iterator[Problem]:
    template_id = payload.get("template_id")
    if template_id is None:
        return
    if not isinstance(template_id, str):
        yield problem(f"The template ID must be a string, you provided {template_id}.", "template_id")
        return
    yield problem(
        f"The Template ID must be a valid template id for your account. You provided {template_id}.", "template_id"
    )
    if template_id.startswith("d-"):
        for position, block in enumerate(personalizations(payload)):
            if isinstance(block, dict) and block.get("substitutions"):
                yield problem(
                    "Substitutions may not be used with dynamic templating",
                    f"personalizations.{position}.substitutions",
                )


def _categories(payload: Mapping[str, Any]) -> Iterator[Problem]:
    categories = payload.get("categories", [])
    if not isinstance(categories, list) or not all(isinstance(one, str) for one in categories):
        yield problem("Categories must be an array of strings.", "categories")
        return
    if len(categories) > 10:
        yield problem(
            f"There is a limit of 10 categories for each email that is sent. You provided {len(categories)} "
            "categories.",
            "categories",
        )
    for index, one in enumerate(categories):
        if len(one) > 255:
            yield problem(
                f"Each category must not be longer than 255 characters. {one} exceeds this limit.",
                f"categories.{index}",
            )
        if not one.isascii():
            yield problem("Categories can not contain non-ASCII characters.", f"categories.{index}")
        if one in categories[:index]:
            yield problem(
                f"The categories must be a unique list, and you have included {one} more than once.", "categories"
            )


def _custom_args(payload: Mapping[str, Any]) -> Iterator[Problem]:
    shared = payload.get("custom_args")
    if shared is not None and not isinstance(shared, dict):
        yield problem(f"Invalid type. Expected: object, given: {type_name(shared)}.", "custom_args")
        return
    for position, block in enumerate(personalizations(payload)):
        own = block.get("custom_args") if isinstance(block, dict) else None
        path = f"personalizations.{position}.custom_args"
        if own is not None and not isinstance(own, dict):
            yield problem(f"Invalid type. Expected: object, given: {type_name(own)}.", path)
            continue
        merged = {**(shared or {}), **(own or {})}
        if sum(len(name.encode()) + len(value.encode()) for name, value in merged.items()) >= 10_000:
            yield problem(
                "The combined size of both global and personalization custom arguments may not exceed 10000 bytes per "
                "personalization.",
                path,
            )


def _send_at(payload: Mapping[str, Any], now: datetime) -> Iterator[Problem]:
    blocks = [(f"personalizations.{n}.send_at", block) for n, block in enumerate(personalizations(payload))]
    scopes = [("send_at", payload), *((path, block) for path, block in blocks if isinstance(block, dict))]
    for path, scope in scopes:
        value = scope.get("send_at", 0)
        if not isinstance(value, int) or isinstance(value, bool):
            yield problem("The send_at parameter is expecting a UNIX timestamp as an integer.", path)
        elif value > now.timestamp() + _HORIZON_SECONDS:
            yield problem("Scheduling more than 72 hours in advance is forbidden.", path)


def _asm(payload: Mapping[str, Any], groups: frozenset[int] | None) -> Iterator[Problem]:
    asm = payload.get("asm")
    if asm is None:
        return
    group_id = asm.get("group_id") if isinstance(asm, dict) else None
    if not _is_id(group_id):
        yield problem("The ASM group ID must be an integer.", "asm.group_id")
        return
    if groups is not None and group_id not in groups:
        yield problem(
            f"The ASM group ID must be a valid Group ID on your account. You provided {group_id}.", "asm.group_id"
        )
    shown = asm.get("groups_to_display", [])
    if not isinstance(shown, list) or not all(map(_is_id, shown)):
        yield problem("The ASM Group IDs to display must be an array of integers.", "asm.groups_to_display")
    elif len(shown) > 25:
        yield problem(
            "There is a limit of 25 unsubscribe groups that can be displayed to a user at a time.",
            "asm.groups_to_display",
        )
    elif groups is not None and not groups.issuperset(shown):
        yield problem(
            "All ASM groups to display must be valid ASM groups IDs on your account. You provided "
            f"{sorted(set(shown) - groups)}.",
            "asm.groups_to_display",
        )


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _delivery(payload: Mapping[str, Any]) -> Iterator[Problem]:
    if not isinstance(payload.get("batch_id", ""), str):
        yield problem("The batch_id must be a string.", "batch_id")
    pool = payload.get("ip_pool_name")
    if pool is not None and not isinstance(pool, str):
        yield problem("The name of your IP pool must be a string.", "ip_pool_name")
    elif pool is not None:
        yield problem(
            f"The IP Pool name must be a valid pool name for your account. You provided {pool}.", "ip_pool_name"
        )


def _settings(payload: Mapping[str, Any]) -> Iterator[Problem]:
    for name in ("mail_settings", "tracking_settings"):
        settings = payload.get(name, {})
        if not isinstance(settings, dict):
            yield problem(f"Invalid type. Expected: object, given: {type_name(settings)}.", name)
            continue
        for key, setting in settings.items():
            enable = setting.get("enable", False) if isinstance(setting, dict) else None
            if not isinstance(enable, bool):
                yield problem(
                    f"The {key.replace('_', ' ')} enable param should be a boolean value.", f"{name}.{key}.enable"
                )
        if "bypass_list_management" in settings and len([key for key in settings if key.startswith("bypass_")]) > 1:
            yield problem(
                "bypass_list_management cannot be combined with any other bypass setting.",
                f"{name}.bypass_list_management",
            )
