"""A release, people and a mailer whose service answers as it is told."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import httpx

from uptake.adapters.sendgrid import SendGridMailer
from uptake.domain.playbooks import Release
from uptake.ports import MailBatch, Recipient, Rendered
from uptake.testing import FixedClock

NOW = datetime(2026, 3, 3, 9, tzinfo=UTC)
KEY = "SG.test-key"
BODY = (
    "Hi {{ contact.given_name | d('you') }}, **try** [{{ feature.name }}]({{ feature.guide_url }}). {{ account.plan }}"
)
LAYOUT = (
    "<mjml><mj-head><mj-title>[[subject]]</mj-title></mj-head><mj-body><mj-section><mj-column>"
    '<mj-text>[[body]]</mj-text><mj-text><a href="[[unsubscribe_url]]">Stop</a> [[postal_address]]</mj-text>'
    "</mj-column></mj-section></mj-body></mjml>"
)
SAID = Rendered(body=b"{}", body_hash="h", send_ids=("s0",), refused={})


def a_release(body: str = BODY) -> Release:
    return Release.model_validate(
        {
            "name": "activate",
            "playbook": {
                "teaches": "dashboards",
                "topic": "training",
                "audience": {"where": "account.plan == 'team'"},
                "goal": {"within": "28d"},
                "holdout": "10%",
                "stages": {"why": {"email": "why.md"}},
            },
            "workspace": {
                "sender": {"name": "Ada, of Acme; Support", "address": "ada@acme.example"},
                "reply_to": {"name": "Help", "address": "help@acme.example"},
                "postal_address": "Acme, 1 Road, 12345 Town",
                "topics": {"training": 7, "news": 8},
                "caps": {"person": {"mails": 2, "per": "7d"}, "account": {"mails": 9, "per": "7d"}},
                "window": {"start": "09:00", "end": "17:00"},
                "allowed_links": ["docs.acme.example"],
            },
            "texts": {"why": {"subject": "{{ feature.name }} for {{ contact.given_name | d('you') }}", "body": body}},
            "layout": LAYOUT,
        }
    )


def a_recipient(number: int = 0, **changes: object) -> Recipient:
    fields = {
        "account": {"plan": "team"},
        "contact": {"given_name": changes.pop("given_name", f"Eve{number}")},
        "feature": {"name": "Boards", "guide_url": "https://docs.acme.example/g", "adoption_state": "tried"},
    }
    values: dict[str, object] = {
        "send_id": f"s{number}",
        "contact_id": f"c{number}",
        "address": f"eve{number}@customer.example",
        "full_name": f"Eve {number}",
        "fields": fields,
        "unsubscribe_url": f"https://mail.acme.example/u/t{number}",
    }
    return Recipient(**{**values, **changes})


def a_batch(*recipients: Recipient, body: str = BODY) -> MailBatch:
    return MailBatch(release=a_release(body), stage_key="why", recipients=recipients)


def a_mailer(handler: Callable[[httpx.Request], httpx.Response] | None = None, **options: object) -> SendGridMailer:
    transport = httpx.MockTransport(handler or (lambda request: httpx.Response(202)))
    return SendGridMailer("https://api.sendgrid.com", KEY, transport=transport, clock=FixedClock(NOW), **options)


def posted(response: httpx.Response, **options: object) -> str | None:
    return a_mailer(lambda request: response, **options).post(SAID)
