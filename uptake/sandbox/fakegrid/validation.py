"""The rules of `POST /v3/mail/send`: what SendGrid refuses with 400, in its words and with its field paths.

Sources: SendGrid's OpenAPI document, its page of mail/send errors, and answers that users have published.
Stricter than what is documented, so that no mail can depend on luck: line breaks in names, subjects and header
values are refused, and addresses are plain ASCII with a dot in the domain. There are no stored templates and no
IP pools here, so naming one is refused as SendGrid refuses an unknown one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from uptake.sandbox.fakegrid.message_rules import message_problems
from uptake.sandbox.fakegrid.people_rules import people_problems
from uptake.sandbox.fakegrid.problem import Problem, bad_request, personalizations, problem

MAX_BYTES = 30 * 1024 * 1024

_TYPES = {
    **dict.fromkeys(("subject", "template_id", "batch_id", "ip_pool_name"), "string"),
    **dict.fromkeys(("personalizations", "to", "cc", "bcc", "reply_to_list", "content", "attachments"), "array"),
    "categories": "array",
    "send_at": "integer",
}


def problems(payload: object, *, now: datetime, groups: frozenset[int] | None = None) -> list[Problem]:
    """Return every reason to refuse a body, none when it is acceptable.

    Args:
        payload: The parsed JSON
        now: SendGrid's own time, for `send_at`
        groups: The unsubscribe groups of the account; None takes any
    """
    if not isinstance(payload, dict) or _has_odd_custom_args(payload):
        return [bad_request()]
    if nulls := list(_nulls(payload)):
        return nulls
    return [*people_problems(payload), *message_problems(payload, now=now, groups=groups)]


def is_sandboxed(payload: Mapping[str, Any]) -> bool:
    """Tell whether a valid body asks to be checked only."""
    return bool(((payload.get("mail_settings") or {}).get("sandbox_mode") or {}).get("enable"))


def _has_odd_custom_args(payload: Mapping[str, Any]) -> bool:
    """A value that is no string gets a plain Bad Request without a field, as users of the real service report."""
    scopes = [payload, *(block for block in personalizations(payload) if isinstance(block, dict))]
    return any(
        not isinstance(value, str)
        for scope in scopes
        if isinstance(scope.get("custom_args"), dict)
        for value in scope["custom_args"].values()
    )


def _nulls(payload: Mapping[str, Any]) -> Iterator[Problem]:
    blocks = ((f"personalizations.{n}.", block) for n, block in enumerate(personalizations(payload)))
    scopes = [("", payload), *((path, block) for path, block in blocks if isinstance(block, dict))]
    for path, scope in scopes:
        for name in (name for name, value in scope.items() if value is None):
            yield problem(f"Invalid type. Expected: {_TYPES.get(name, 'object')}, given: null.", path + name)
