from __future__ import annotations

from pathlib import Path

import httpx
import orjson
import pytest

from tests.adapters.test_sendgrid import a_batch, a_mailer, a_recipient
from uptake.adapters.mail_sink import SinkMailer
from uptake.adapters.sendgrid import SendGridMailer
from uptake.errors import MessageRefused, SettingsError
from uptake.settings import Settings
from uptake.wiring import Wiring

SINK = "us@vendor.example"


def addresses(mailer: SinkMailer, *found: str) -> list[str]:
    recipients = [a_recipient(number, address=address) for number, address in enumerate(found)]
    body = orjson.loads(mailer.render(a_batch(*recipients)).body)
    return [one["to"][0]["email"] for one in body["personalizations"]]


def test_everybodys_mail_goes_to_the_sink_each_under_an_address_of_its_own():
    found = addresses(SinkMailer(a_mailer(), SINK), "ann@customer.example", "bob@customer.example")
    assert len(set(found)) == 2
    assert all(address.startswith("us+") and address.endswith("@vendor.example") for address in found)


def test_nothing_of_a_customers_address_is_left_in_the_body():
    rendered = SinkMailer(a_mailer(), SINK).render(a_batch(a_recipient(address="ann@customer.example")))
    assert b"customer.example" not in rendered.body


@pytest.mark.parametrize("allowed", ["ann@customer.example", "@customer.example", "ANN@Customer.example"])
def test_who_is_allowed_is_mailed(allowed):
    mailer = SinkMailer(a_mailer(), SINK, allowed=[allowed])
    assert addresses(mailer, "Ann@customer.example", "ann@customer.example.evil.example")[0] == "Ann@customer.example"
    assert addresses(mailer, "ann@evil-customer.example")[0].endswith("@vendor.example")


def test_an_address_that_is_none_is_refused_as_it_would_be():
    refused = a_recipient(address="no address")
    assert refused.send_id in SinkMailer(a_mailer(), SINK).render(a_batch(refused)).refused


def test_the_request_is_that_of_the_mailer_within():
    mailer = SinkMailer(a_mailer(lambda _: httpx.Response(202, headers={"X-Message-Id": "m"})), SINK)
    assert mailer.post(mailer.render(a_batch(a_recipient()))) == "m"


def test_a_sink_that_is_refused_is_no_customers_fault():
    """Or a mistyped sink would suppress the addresses of customers, for good."""
    named = {"errors": [{"message": "Does not contain a valid address.", "field": "personalizations.0.to.0.email"}]}
    mailer = SinkMailer(a_mailer(lambda _: httpx.Response(400, json=named)), SINK)
    with pytest.raises(MessageRefused, match="valid address") as refused:
        mailer.post(mailer.render(a_batch(a_recipient())))
    assert refused.value.recipient is None


@pytest.mark.parametrize(("sink", "allowed"), [("us", []), ("@vendor.example", []), (SINK, ["customer.example"])])
def test_what_is_no_address_is_refused(sink, allowed):
    with pytest.raises(SettingsError, match="expected"):
        SinkMailer(a_mailer(), sink, allowed=allowed)


def wired(home: Path, **settings: object) -> Wiring:
    return Wiring(Settings(home=home, sendgrid_api_key="SG.x", **settings))


def test_outside_production_no_customer_is_mailed(tmp_path: Path):
    with pytest.raises(SettingsError, match="UPTAKE_ENVIRONMENT is development"):
        _ = wired(tmp_path).mailer
    assert isinstance(wired(tmp_path, environment="staging", mail_sink=SINK).mailer, SinkMailer)
    assert isinstance(wired(tmp_path, environment="production", mail_sink=SINK).mailer, SendGridMailer)
    assert isinstance(wired(tmp_path, sendgrid_base_url="http://127.0.0.1:9").mailer, SendGridMailer)
