from __future__ import annotations

import json
import re
from datetime import timedelta
from email.message import EmailMessage

import httpx
import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.adapters.mail_requests import KEY, NOW, SAID, a_batch, a_mailer, a_recipient
from uptake.adapters.sendgrid import SEND_ID_ARG, SendGridMailer
from uptake.domain.eligibility import Reason
from uptake.errors import (
    MailerUnavailable,
    PlaybookError,
    SettingsError,
)
from uptake.sandbox.fakegrid.validation import problems
from uptake.testing import FixedClock


def test_the_body_is_what_sendgrid_expects():
    rendered = a_mailer().render(a_batch(a_recipient(0), a_recipient(1)))
    body = json.loads(rendered.body)
    assert rendered.send_ids == ("s0", "s1")
    assert body["from"] == {"email": "ada@acme.example", "name": "Ada of Acme Support"}
    assert body["reply_to"] == {"email": "help@acme.example", "name": "Help"}
    assert body["asm"] == {"group_id": 7}
    assert body["categories"] == ["activate"]
    assert [part["type"] for part in body["content"]] == ["text/plain", "text/html"]
    assert body["tracking_settings"] == {
        "click_tracking": {"enable": False, "enable_text": False},
        "open_tracking": {"enable": False},
        "subscription_tracking": {"enable": False},
    }
    assert "mail_settings" not in body
    person = body["personalizations"][1]
    assert person["to"] == [{"email": "eve1@customer.example", "name": "Eve 1"}]
    assert person["subject"] == "Boards for Eve1"
    assert person["custom_args"] == {SEND_ID_ARG: "s1"}
    assert person["headers"] == {
        "List-Unsubscribe": "<https://mail.acme.example/u/t1>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }
    html = body["content"][1]["value"]
    for tag, value in person["substitutions"].items():
        html = html.replace(tag, value)
    assert "Hi Eve1, <strong>try</strong>" in html
    assert 'href="https://mail.acme.example/u/t1"' in html


def test_nothing_about_a_person_is_outside_their_personalization():
    body = json.loads(a_mailer().render(a_batch(a_recipient(0))).body)
    del body["personalizations"]
    assert not re.search(r"eve|s0|t0", json.dumps(body), re.IGNORECASE)


def test_a_sandboxed_body_asks_to_be_validated_only():
    """Without it the very same request would be real mail."""
    body = json.loads(a_mailer(sandbox=True).render(a_batch(a_recipient())).body)
    assert body["mail_settings"] == {"sandbox_mode": {"enable": True}}


def test_who_has_no_name_is_written_to_by_address():
    body = json.loads(a_mailer().render(a_batch(a_recipient(0, full_name=None))).body)
    assert body["personalizations"][0]["to"] == [{"email": "eve0@customer.example"}]


def test_tracking_is_on_only_when_asked_for():
    mailer = a_mailer(track_opens=True, track_clicks=True)
    settings = json.loads(mailer.render(a_batch(a_recipient())).body)["tracking_settings"]
    assert settings["open_tracking"]["enable"] is True
    assert settings["click_tracking"]["enable"] is True
    assert settings["subscription_tracking"]["enable"] is False


def test_the_hash_is_of_the_very_body():
    mailer = a_mailer()
    one, two = (mailer.render(a_batch(a_recipient(n))) for n in (0, 1))
    assert one.body_hash != two.body_hash
    assert one.body_hash == mailer.render(a_batch(a_recipient(0))).body_hash


def test_one_persons_missing_value_stops_nobody_else():
    nobody = {"account": {"plan": None}, "contact": {}, "feature": {}}
    rendered = a_mailer().render(a_batch(a_recipient(0), a_recipient(1, fields=nobody), a_recipient(2)))
    assert rendered.send_ids == ("s0", "s2")
    assert rendered.refused == {"s1": Reason.VALUE_MISSING}


@pytest.mark.parametrize("address", ["", "no address", "a@b", "a@b.example\r\nBcc: x@y.example"])
def test_who_has_no_usable_address_is_left_out(address):
    rendered = a_mailer().render(a_batch(a_recipient(0, address=address)))
    assert rendered.refused == {"s0": Reason.LEFT}
    assert rendered.send_ids == ()
    assert rendered.body == b""


@pytest.mark.parametrize("writings", [("eve0", "EVE0"), ("EVE0", "eve0")])
def test_an_address_stands_in_a_request_once(writings):
    first, twice = (a_recipient(place, address=f"{name}@customer.example") for place, name in enumerate(writings))
    rendered = a_mailer().render(a_batch(first, twice, a_recipient(2)))
    assert rendered.send_ids == ("s0", "s2")
    assert rendered.refused == {}


def test_a_message_with_too_much_of_its_own_goes_alone():
    mailer, long = a_mailer(), a_recipient(1, given_name="é" * 3000)
    first = mailer.render(a_batch(a_recipient(0), long, a_recipient(2)))
    assert first.send_ids == ("s0", "s2")
    second = mailer.render(a_batch(long, a_recipient(3)))
    assert second.send_ids == ("s1",)
    body = json.loads(second.body)
    assert "substitutions" not in body["personalizations"][0]
    assert "é" * 3000 in body["content"][0]["value"]
    assert "-u" not in body["content"][0]["value"]


def test_a_request_holds_at_most_a_thousand():
    rendered = a_mailer().render(a_batch(*(a_recipient(n) for n in range(1_001))))
    assert len(rendered.send_ids) == 1_000


def test_a_broken_text_is_the_playbooks_fault():
    with pytest.raises(PlaybookError, match="stage why"):
        a_mailer().render(a_batch(a_recipient(), body="{{ nothing }}"))


HOSTILE = st.one_of(
    st.text(alphabet=st.sampled_from(list("ab<>{}%[]-;,\"'\r\n\x00\u202e\ud800é\\")), min_size=1), st.text(min_size=1)
)


@given(given_name=HOSTILE, full_name=HOSTILE)
def test_hostile_names_neither_break_the_body_nor_enter_a_header(given_name, full_name):
    rendered = a_mailer().render(a_batch(a_recipient(0, given_name=given_name, full_name=full_name)))
    body = json.loads(rendered.body)
    (person,) = body["personalizations"]
    assert set(person["headers"]) == {"List-Unsubscribe", "List-Unsubscribe-Post"}
    message = EmailMessage()
    message["Subject"] = person["subject"]  # refuses line breaks
    message["To"] = person["to"][0].get("name", "")
    assert not re.search(r"[;,]", person["to"][0].get("name", ""))


@pytest.fixture(scope="session")
def schema(shared_data) -> dict:
    """What SendGrid's OpenAPI says of a mail/send body."""
    api = json.loads((shared_data / "sendgrid-openapi" / "tsg_mail_v3.json").read_text())
    content = api["components"]["requestBodies"]["PostMailSend"]["content"]["application/json"]
    return {**content["schema"], "components": api["components"]}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(HOSTILE, min_size=1, max_size=4), sandbox=st.booleans())
def test_every_body_meets_sendgrids_openapi(schema, names, sandbox):
    recipients = (a_recipient(number, given_name=name, full_name=name) for number, name in enumerate(names))
    body = json.loads(a_mailer(sandbox=sandbox).render(a_batch(*recipients)).body)
    jsonschema.Draft202012Validator(schema).validate(body)
    assert set(body) <= set(schema["properties"])
    assert set(body["personalizations"][0]) <= set(schema["properties"]["personalizations"]["items"]["properties"])
    assert not [name for name in body.get("mail_settings", {}) if name.startswith("bypass")]


def test_the_openapi_check_can_fail(schema):
    body = json.loads(a_mailer().render(a_batch(a_recipient())).body)
    body["personalizations"][0]["subject"] = ""
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema).validate(body)


@given(names=st.lists(HOSTILE, min_size=1, max_size=4))
def test_every_body_meets_the_limits_that_the_openapi_does_not_tell(names):
    recipients = (a_recipient(number, given_name=name, full_name=name) for number, name in enumerate(names))
    body = json.loads(a_mailer().render(a_batch(*recipients)).body)
    assert problems(body, now=NOW, groups=frozenset({7, 8})) == []


# --- settings -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [None, "", "SG.a b", "SG.a\r\nX: y", "SG.é"])
def test_a_missing_or_impossible_key_is_said_in_one_line_without_it(key):
    with pytest.raises(SettingsError) as error:
        SendGridMailer("https://api.sendgrid.com", key)
    assert "\n" not in str(error.value)
    assert "SENDGRID_API_KEY" in str(error.value)
    assert "SG.a" not in str(error.value)


@pytest.mark.parametrize("url", ["http://api.sendgrid.com", "http://10.0.0.1", "ftp://127.0.0.1", "sendgrid.com", ""])
def test_mail_leaves_encrypted(url):
    with pytest.raises(SettingsError, match="https://"):
        SendGridMailer(url, KEY)


@pytest.mark.parametrize(
    "url", ["https://api.eu.sendgrid.com", "http://127.0.0.1:8", "http://localhost:8", "http://[::1]:8"]
)
def test_the_loopback_needs_no_encryption(url):
    SendGridMailer(url, KEY)


def test_no_secret_is_shown():
    assert KEY not in repr(a_mailer())
    assert KEY not in repr(vars(a_mailer()))


def test_the_pause_ends_at_the_reset_on_the_engines_clock():
    clock = FixedClock(NOW + timedelta(seconds=30))
    reset_at = str(int(NOW.timestamp()) + 42)
    transport = httpx.MockTransport(lambda request: httpx.Response(429, headers={"X-RateLimit-Reset": reset_at}))
    with pytest.raises(MailerUnavailable) as error:
        SendGridMailer("https://api.sendgrid.com", KEY, transport=transport, clock=clock).post(SAID)
    assert error.value.retry_after == 12
