"""The public web in front of an outbox's ledger: one signed webhook body, one click on unsubscribe, their answers."""

from __future__ import annotations

import json
from collections.abc import Mapping

import anyio
import httpx

from tests.crash.outbox import KEYS, LINKS, Outbox, address_of
from uptake.adapters.sendgrid_events import SIGNATURE_HEADER, TIMESTAMP_HEADER, public_keys
from uptake.adapters.tokens import Tokens
from uptake.sandbox.fakegrid.signing import sign, signing_key, webhook_public_key
from uptake.web_public import create_public_app


def post_event(outbox: Outbox, *, padding: int = 0) -> int:
    """Post one delivery event, of so many bytes more; return the status of the answer."""
    body = [{"email": address_of("c00001"), "event": "open", "timestamp": 1, "sg_event_id": "e", "x": "x" * padding}]
    raw, timestamp = json.dumps(body).encode(), str(int(outbox.clock.now().timestamp()))
    signature = sign(signing_key(outbox.home), timestamp, raw)
    headers = {SIGNATURE_HEADER: signature, TIMESTAMP_HEADER: timestamp}
    return _post(outbox, "/webhooks/sendgrid", raw, headers)


def unsubscribe(outbox: Outbox, contact_id: str = "c00001") -> int:
    """Click once; return the status of the answer."""
    url = LINKS.unsubscribe_url(contact_id=contact_id, topic="training", feature_key="boards")
    path = url.removeprefix("https://mail.acme.example")
    return _post(outbox, path, b"List-Unsubscribe=One-Click", {})


def _post(outbox: Outbox, path: str, body: bytes, headers: Mapping[str, str]) -> int:
    app = create_public_app(
        outbox.ledger,
        tokens=Tokens(KEYS.tokens),
        clock=outbox.clock,
        webhook_keys=public_keys(webhook_public_key(outbox.home)),
        topics=["training"],
    )

    async def post() -> int:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="https://mail.acme.example") as client:
            return (await client.post(path, content=body, headers=headers)).status_code

    return anyio.run(post)
