from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from uptake.sandbox.fakegrid.problem import is_address
from uptake.sandbox.fakegrid.validation import problems

Body = dict[str, Any]


def good_body(addresses: int = 2) -> Body:
    """A body such as the engine sends."""
    return {
        "personalizations": [
            {
                "to": [{"email": f"ana{n}@example.com", "name": f"Ana {n}"}],
                "substitutions": {"-q7x-name-": f"Ana {n}"},
                "custom_args": {"uptake_send_id": f"{n:032x}"},
                "headers": {
                    "List-Unsubscribe": f"<http://127.0.0.1:8025/u/{n}>",
                    "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
                },
            }
            for n in range(addresses)
        ],
        "from": {"email": "success@example.com", "name": "Success"},
        "reply_to": {"email": "cara@example.com"},
        "subject": "Dashboards, -q7x-name-",
        "content": [
            {"type": "text/plain", "value": "Hello -q7x-name-"},
            {"type": "text/html", "value": "<p>Hello -q7x-name-</p>"},
        ],
        "categories": ["activate-dashboards"],
        "asm": {"group_id": 11},
    }


def first(body: Body) -> Body:
    return body["personalizations"][0]


def changed(**values: object) -> Callable[[Body], None]:
    return lambda body: body.update(values)


def first_changed(**values: object) -> Callable[[Body], None]:
    return lambda body: first(body).update(values)


def without(name: str) -> Callable[[Body], None]:
    return lambda body: body.pop(name)


NOW_SECONDS = 1772528400  # 2026-03-03T09:00Z, the `now` fixture

#: what is wrong, the field that SendGrid names, a word of its message
REFUSED: dict[str, tuple[Callable[[Body], object], str | None, str]] = {
    "no personalizations": (without("personalizations"), "personalizations", "at least one"),
    "empty personalizations": (changed(personalizations=[]), "personalizations", "at least one"),
    "a personalization that is a list": (changed(personalizations=[[]]), "personalizations.0", "Expected: object"),
    "1,001 personalizations": (
        changed(personalizations=good_body(1001)["personalizations"]), "personalizations", "limited to 1000",
    ),
    "1,001 recipients": (
        changed(personalizations=[
            {"to": [{"email": f"p{n}@example.com"} for n in range(501)]},
            {"to": [{"email": f"q{n}@example.com"} for n in range(300)],
             "bcc": [{"email": f"r{n}@example.com"} for n in range(200)]},
        ]), "personalizations", "limit of 1000 total",
    ),
    "a subject that is null": (changed(subject=None), "subject", "given: null"),
    "substitutions that are null": (
        first_changed(substitutions=None), "personalizations.0.substitutions", "given: null",
    ),
    "no to": (first_changed(to=[]), "personalizations.0.to", "to parameter is required"),
    "a to without email": (first_changed(to=[{"name": "A"}]), "personalizations.0.to.0.email", "at least have"),
    "a to that is text": (first_changed(to=["a@example.com"]), "personalizations.0.to.0.email", "at least have"),
    "a to that is no list": (first_changed(to={"email": "a@b.co"}), "personalizations.0.to", "Expected: array"),
    "an invalid address": (
        lambda b: b["personalizations"][1].update(to=[{"email": "ana.example.com"}]),
        "personalizations.1.to.0.email", "valid address",
    ),
    "a name with a comma": (
        first_changed(to=[{"email": "a@example.com", "name": "Li, Ana"}]), "personalizations.0.to.0.name", "';'",
    ),
    "a name with a line break": (
        first_changed(to=[{"email": "a@example.com", "name": "Ana\r\nBcc: x@y.zz"}]),
        "personalizations.0.to.0.name", "CRLF",
    ),
    "the same address in to and cc": (
        first_changed(cc=[{"email": "ANA0@example.com"}]), "personalizations.0", "should be unique between",
    ),
    "the same address in two personalizations": (
        lambda b: b["personalizations"][1].update(to=[{"email": "Ana0@Example.com"}]),
        "personalizations.1.to", "only be included once",
    ),
    "substitutions over 10,000 bytes": (
        first_changed(substitutions={"-a-": "é" * 4999}), "personalizations.0.substitutions", "10000 bytes",
    ),
    "substitutions that are numbers": (
        first_changed(substitutions={"-a-": 1}), "personalizations.0.substitutions", "all strings",
    ),
    "151 substitutions": (
        first_changed(substitutions={f"-{n}-": "" for n in range(151)}), "personalizations.0.substitutions", "150",
    ),
    "a custom argument that is a number": (first_changed(custom_args={"a": 1}), None, "Bad Request"),
    "a shared custom argument that is a number": (changed(custom_args={"a": 1}), None, "Bad Request"),
    "custom arguments as text": (changed(custom_args="a"), "custom_args", "Expected: object, given: string"),
    "custom arguments of 10,000 bytes, merged": (
        lambda b: (b.update(custom_args={"a": "x" * 5000}), first(b).update(custom_args={"b": "y" * 4998})),
        "personalizations.0.custom_args", "combined size",
    ),
    "no from": (without("from"), "from.email", "from object must be provided"),
    "an invalid from": (changed(**{"from": {"email": "x"}}), "from.email", "from email does not contain a valid"),
    "a from beyond ASCII": (changed(**{"from": {"email": "añá@example.com"}}), "from.email", "valid address"),
    "an invalid from of one": (first_changed(**{"from": {}}), "personalizations.0.from.email", "valid address"),
    "no subject": (without("subject"), "subject", "subject is required"),
    "an empty subject": (changed(subject=""), "subject", "at least one character"),
    "an empty subject of one": (first_changed(subject=""), "personalizations.0.subject", "at least one character"),
    "a subject with a line break": (changed(subject="Hi\nBcc: x@y.zz"), "subject", "CRLF"),
    "no content": (without("content"), "content", "content parameter is required"),
    "empty content": (changed(content=[]), "content", "content parameter is required"),
    "content without a value": (changed(content=[{"type": "text/plain", "value": ""}]), "content.0.value", "at least"),
    "content without a type": (changed(content=[{"value": "x"}]), "content.0.type", "type is required"),
    "a content type with parameters": (
        changed(content=[{"type": "text/html; charset=utf-8", "value": "x"}]), "content.0.type", "';'",
    ),
    "HTML before text": (lambda b: b["content"].reverse(), "content", "text/plain needs to be first"),
    "reply_to and reply_to_list": (changed(reply_to_list=[{"email": "a@example.com"}]), "reply_to", "both"),
    "an invalid reply_to": (changed(reply_to={"email": "x"}), "reply_to.email", "valid address"),
    "a repeated reply_to": (
        lambda b: (b.pop("reply_to"), b.update(reply_to_list=[{"email": "a@example.com"}] * 2)),
        "reply_to_list", "unique",
    ),
    "a reserved header": (changed(headers={"Reply-To": "a@example.com"}), "headers", "reserved"),
    "a reserved header of one": (first_changed(headers={"x-sg-eid": "1"}), "personalizations.0.headers", "reserved"),
    "a header that is a number": (changed(headers={"X-A": 1}), "headers", "must be strings"),
    "a header with a space": (changed(headers={"X A": "1"}), "headers", "non-ASCII"),
    "a header with a line break": (changed(headers={"X-A": "1\r\nBcc: x@y.zz"}), "headers", "CRLF"),
    "a header twice": (changed(headers={"X-A": "1", "x-a": "2"}), "headers", "duplicate"),
    "11 categories": (changed(categories=[str(n) for n in range(11)]), "categories", "limit of 10"),
    "a category of 256 characters": (changed(categories=["x" * 256]), "categories.0", "255"),
    "a category twice": (changed(categories=["a", "a"]), "categories", "unique"),
    "a category that is a number": (changed(categories=[1]), "categories", "array of strings"),
    "a category beyond ASCII": (changed(categories=["é"]), "categories.0", "non-ASCII"),
    "send_at beyond 72 hours": (changed(send_at=NOW_SECONDS + 72 * 3600 + 1), "send_at", "72 hours"),
    "send_at of one beyond 72 hours": (
        first_changed(send_at=NOW_SECONDS + 72 * 3600 + 1), "personalizations.0.send_at", "72 hours",
    ),
    "send_at as text": (changed(send_at="tomorrow"), "send_at", "UNIX timestamp"),
    "a group that is text": (changed(asm={"group_id": "11"}), "asm.group_id", "integer"),
    "an unknown group": (changed(asm={"group_id": 99}), "asm.group_id", "valid Group ID"),
    "26 groups to display": (
        changed(asm={"group_id": 11, "groups_to_display": [11] * 26}), "asm.groups_to_display", "25",
    ),
    "an unknown group to display": (
        changed(asm={"group_id": 11, "groups_to_display": [12]}), "asm.groups_to_display", "[12]",
    ),
    "an unknown template": (changed(template_id="d-123"), "template_id", "valid template id"),
    "substitutions in a dynamic template": (
        changed(template_id="d-123"), "personalizations.0.substitutions", "dynamic templating",
    ),
    "an attachment that is not base64": (
        changed(attachments=[{"content": "not base64", "filename": "a.txt"}]), "attachments.0.content", "base64",
    ),
    "an attachment without a name": (changed(attachments=[{"content": "dGVzdA=="}]), "attachments.0.filename", "req"),
    "an unknown IP pool": (changed(ip_pool_name="fast"), "ip_pool_name", "valid pool name"),
    "a batch id that is a number": (changed(batch_id=1), "batch_id", "string"),
    "a setting that is text": (
        changed(mail_settings={"sandbox_mode": {"enable": "yes"}}), "mail_settings.sandbox_mode.enable", "boolean",
    ),
    "tracking that is text": (
        changed(tracking_settings={"open_tracking": {"enable": 1}}),
        "tracking_settings.open_tracking.enable", "boolean",
    ),
}  # fmt: skip


@pytest.mark.parametrize("wrong", REFUSED)
def test_what_sendgrid_refuses_is_refused_with_its_field(wrong: str, now: datetime) -> None:
    break_it, field, words = REFUSED[wrong]
    body = good_body()
    break_it(body)
    found = [one for one in problems(body, now=now, groups=frozenset({11})) if one["field"] == field]
    assert found, f"no problem names {field!r}"
    assert any(words in str(one["message"]) for one in found)


def test_each_body_is_wrong_in_one_way_only(now: datetime) -> None:
    both = {"an unknown template", "substitutions in a dynamic template"}
    for wrong, (break_it, _, _) in REFUSED.items():
        body = good_body()
        break_it(body)
        fields = {one["field"] for one in problems(body, now=now, groups=frozenset({11}))}
        assert len(fields) == 1 or wrong in both, f"{wrong}: {fields}"


@pytest.mark.parametrize(
    "change",
    [
        changed(),
        changed(personalizations=good_body(1000)["personalizations"]),
        changed(send_at=NOW_SECONDS + 72 * 3600),
        changed(send_at=1),
        changed(content=[{"type": "text/html", "value": "x"}]),
        changed(reply_to_list=[], custom_args={"a": "b"}, headers={"X-A": "1"}),
        first_changed(substitutions={"-a-": "x" * 9997}),
        first_changed(custom_args={"a": "x" * 9998}),
        changed(attachments=[{"content": "dGVzdA==", "filename": "a.txt"}]),
        lambda body: (body.pop("subject"), [one.update(subject="Hi") for one in body["personalizations"]]),
    ],
)
def test_what_sendgrid_takes_is_taken(change: Callable[[Body], object], now: datetime) -> None:
    body = good_body()
    change(body)
    if "reply_to_list" in body:
        del body["reply_to"]
    assert problems(body, now=now, groups=frozenset({11})) == []


@pytest.mark.parametrize("body", [None, [], "x", 1, {}])
def test_a_body_that_is_no_mail_is_refused(body: object, now: datetime) -> None:
    assert problems(body, now=now)


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["email", "name", "to"]), inner),
    max_leaves=4,
)


@given(data=st.data())
def test_no_value_of_an_odd_type_breaks_the_rules_themselves(data: st.DataObject) -> None:
    body = good_body()
    scope = data.draw(st.sampled_from([body, first(body)]))
    keys = [*body, *first(body), "cc", "reply_to_list", "attachments", "mail_settings", "send_at", "template_id"]
    scope[data.draw(st.sampled_from(keys))] = data.draw(ODD)
    for problem in problems(body, now=datetime.fromisoformat("2026-03-03T09:00+00:00")):
        assert set(problem) == {"message", "field", "help"}


@pytest.mark.parametrize("address", ["ana@example.com", "a.b+c@x-y.example.co", "o'neil@example.invalid", "1@a.io"])
def test_plain_addresses_are_valid(address: str) -> None:
    assert is_address(address)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "ana",
        "ana@",
        "@example.com",
        "ana@localhost",
        "ana@-x.com",
        "a..b@example.com",
        "a b@example.com",
        None,
        "ana@example.com\n",
        "<ana@example.com>",
        "ana@exämple.com",
        "x" * 65 + "@example.com",
        "a@b@example.com",
    ],
)
def test_odd_addresses_are_not(address: object) -> None:
    assert not is_address(address)


def _schema(shared_data: Any, part: Callable[[Body], Body]) -> Body:
    api = json.loads((shared_data / "sendgrid-openapi" / "tsg_mail_v3.json").read_text())
    return {**part(api), "components": api["components"]}


@cache
def _mail_schema(shared_data: Any) -> jsonschema.Draft202012Validator:
    schema = _schema(
        shared_data,
        lambda api: api["components"]["requestBodies"]["PostMailSend"]["content"]["application/json"]["schema"],
    )
    return jsonschema.Draft202012Validator(schema)


def test_a_good_body_fits_sendgrids_openapi(shared_data: Any) -> None:
    _mail_schema(shared_data).validate(good_body())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_the_openapi_refuses_is_refused_here(shared_data: Any, now: datetime, data: st.DataObject) -> None:
    body = good_body()
    scope = data.draw(st.sampled_from([body, first(body)]))
    key = data.draw(st.sampled_from([*body, *first(body), "cc", "bcc", "attachments", "send_at", "template_id"]))
    scope[key] = data.draw(ODD)
    # The document declares the message's own custom_args a string, which the real service refuses.
    if not (scope is body and key == "custom_args") and not _mail_schema(shared_data).is_valid(body):
        assert problems(body, now=now)


def test_every_error_envelope_fits_sendgrids_openapi(shared_data: Any, now: datetime) -> None:
    schema = _schema(shared_data, lambda api: api["components"]["schemas"]["ErrorResponse"])
    # The document declares `help` an object and describes it as text or a link, which is what the service sends.
    entry = schema["properties"]["errors"]["items"]["properties"]
    entry["help"] = {"type": ["string", "null"]}
    assert entry["field"].pop("nullable")
    entry["field"]["type"] = ["string", "null"]
    for break_it, _, _ in REFUSED.values():
        body = good_body()
        break_it(body)
        jsonschema.Draft202012Validator(schema).validate({"errors": problems(body, now=now)})
