"""What faces the internet: the signed event webhook and the recipient's pages. Stores, answers, nothing else.

No cookie, no login, no script; nothing changes but by POST, because link scanners open every link.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import parse_qs

from jinja2 import DictLoader, Environment
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from uptake.adapters.sendgrid_events import SIGNATURE_HEADER, TIMESTAMP_HEADER, PublicKey, verify
from uptake.adapters.tokens import Claim, Tokens
from uptake.domain.answers import Answer
from uptake.ports import Clock, Ledger

_log = logging.getLogger(__name__)

MAX_WEBHOOK_BYTES = 4 * 1024 * 1024  # SendGrid posts at 768 KB
_MAX_COMMIT_BYTES = 8 * 1024 * 1024  # of the bodies that share a transaction
_MAX_FORM_BYTES = 16 * 1024
_MAX_TOKEN = 1_000
_TELL_REFUSALS_EVERY = 60.0  # seconds

#: The answers of the preference page, as they reach the ledger.
ANSWERS: Mapping[str, str] = {
    Answer.NOT_NEEDED: "We do not need this feature",
    Answer.ALREADY_DO: "I already do this",
    Answer.COLLEAGUE: "A colleague is the right person for this",
}
_TAKE_BACK = "take_back"  # the choice to have given no answer

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
}

_PAGES = Environment(
    autoescape=True,
    loader=DictLoader(
        {
            "frame": """<!doctype html>
<html lang="en" dir="ltr">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{% block title %}{% endblock %}</title>
<style>
:root { color-scheme: light dark; }
body { font: 1.125rem/1.5 system-ui, sans-serif; margin: 0; padding: 2rem 1rem; }
main { max-width: 34rem; margin: 0 auto; }
h1 { font-size: 1.5rem; line-height: 1.25; }
h2 { font-size: 1.125rem; margin-top: 2rem; }
button { font: inherit; min-height: 2.75rem; padding: .5rem 1rem; margin: .25rem 0; display: block; width: 100%;
  text-align: start; border: 2px solid currentColor; border-radius: .375rem; background: transparent;
  color: inherit; cursor: pointer; }
button:hover { text-decoration: underline; }
button:focus-visible, a:focus-visible { outline: 3px solid #2a6fdb; outline-offset: 2px; }
a { color: inherit; }
</style>
</head>
<body>
<main>
<h1>{{ self.title() }}</h1>
{% block body %}{% endblock %}
</main>
</body>
</html>
""",
            "unsubscribe": """{% extends "frame" %}
{% block title %}Stop these e-mails?{% endblock %}
{% block body %}
<p>One click, and you get no more e-mails of this kind. Nothing has changed yet.</p>
<form method="post" action="/u/{{ token }}">
<input type="hidden" name="confirm" value="yes">
<button type="submit">Stop these e-mails</button>
</form>
<p><a href="/p/{{ token }}">Choose what you get, or tell us why this one did not fit</a></p>
{% endblock %}
""",
            "preferences": """{% extends "frame" %}
{% block title %}What would you like to get?{% endblock %}
{% block body %}
<p>Each button works at once. You need no account for this.</p>
<form method="post" action="/p/{{ token }}">
{% if answers %}
<h2>About the feature in the e-mail you came from</h2>
{% endif %}
{% if given %}
<p>You told us: “{{ answers[given] }}”. We send you no e-mails about this feature.</p>
<button type="submit" name="choice" value="{{ take_back }}">Take this answer back</button>
{% endif %}
{% for value, label in answers.items() if value != given %}
<button type="submit" name="choice" value="{{ value }}">{{ label }}</button>
{% endfor %}
<h2>Stop some e-mails</h2>
{% for topic in topics %}
<button type="submit" name="choice" value="topic:{{ topic }}">
Stop e-mails about {{ topic | replace("-", " ") | replace("_", " ") }}
</button>
{% endfor %}
<h2>Stop everything</h2>
<button type="submit" name="choice" value="everything">Stop all e-mails of this kind from us</button>
</form>
{% endblock %}
""",
            "done": """{% extends "frame" %}
{% block title %}{{ title }}{% endblock %}
{% block body %}
<p>{{ text }}</p>
{% if token %}<p><a href="/p/{{ token }}">Choose what you get</a></p>{% endif %}
{% endblock %}
""",
        }
    ),
)


def create_public_app(
    ledger: Ledger,
    *,
    tokens: Tokens,
    clock: Clock,
    webhook_keys: Sequence[PublicKey],
    topics: Sequence[str] = (),
    max_webhook_bytes: int = MAX_WEBHOOK_BYTES,
) -> Starlette:
    """Return the ASGI app.

    Args:
        ledger: Where everything is stored before it is answered.
        tokens: Reads the links that mails carried.
        clock: The time, for the webhook's replay window and for what is stored.
        webhook_keys: SendGrid's public keys; without any, no event is believed.
        topics: What the preference page offers to stop.
        max_webhook_bytes: Longer bodies get 413.
    """
    public = _Public(ledger, tokens, clock, tuple(webhook_keys), tuple(topics), max_webhook_bytes)
    app = Starlette(
        routes=[
            Route("/webhooks/sendgrid", public.webhook, methods=["POST"]),
            Route("/u/{token}", public.unsubscribe, methods=["GET", "POST"]),
            Route("/p/{token}", public.preferences, methods=["GET", "POST"]),
        ]
    )
    app.router.redirect_slashes = False  # RFC 8058: no redirects
    return app


class _Public:
    def __init__(
        self,
        ledger: Ledger,
        tokens: Tokens,
        clock: Clock,
        webhook_keys: tuple[PublicKey, ...],
        topics: tuple[str, ...],
        max_webhook_bytes: int,
    ) -> None:
        self._ledger = ledger
        self._tokens = tokens
        self._clock = clock
        self._keys = webhook_keys
        self._topics = topics
        self._max_webhook_bytes = max_webhook_bytes
        self._bodies = _Bodies(ledger, clock)
        self._tells_refusals_from = 0.0  # on the monotonic clock

    async def webhook(self, request: Request) -> Response:
        """Store one signed body, then say so. Whatever is not 2xx, SendGrid sends again."""
        signatures = request.headers.getlist(SIGNATURE_HEADER)
        timestamps = request.headers.getlist(TIMESTAMP_HEADER)
        if len(signatures) != 1 or len(timestamps) != 1:
            return Response(status_code=403)
        body = await _body(request, self._max_webhook_bytes)
        if body is None:
            return Response(status_code=413)
        now = self._clock.now()
        if not verify(body, signature=signatures[0], timestamp=timestamps[0], keys=self._keys, now=now):
            self._tell_refusal()
            return Response(status_code=403)
        if not await self._bodies.store(body):
            return Response(status_code=503, headers={"Retry-After": "30"})
        return Response(status_code=204)

    def _tell_refusal(self) -> None:
        """Log that a body was not believed, at most once a minute: a wrong key shows nowhere else."""
        if time.monotonic() >= self._tells_refusals_from:
            self._tells_refusals_from = time.monotonic() + _TELL_REFUSALS_EVERY
            _log.warning(
                "a webhook post was refused: it is forged or old, or UPTAKE_WEBHOOK_PUBLIC_KEY is not SendGrid's key"
            )

    async def unsubscribe(self, request: Request) -> Response:
        """GET asks; POST, from the page or as RFC 8058's one click, stops the topic before it answers."""
        token = request.path_params["token"]
        if request.method != "POST":
            return _page("unsubscribe", token=token)
        body = await _body(request, _MAX_FORM_BYTES)
        if body is None:
            return _sorry(413, "This request is too long.")
        claim = self._claim(token)
        if claim is None:
            return _damaged()
        # Any POST is taken as a wish to stop: providers differ in what they put into the body.
        source = "one_click" if b"One-Click" in body else "unsubscribe_page"
        if not await _commit(lambda: self._stop(claim, topic=claim.topic, source=source)):
            return _unavailable()
        return _page("done", title="Done", text="You will get no more e-mails of this kind from us.", token=token)

    async def preferences(self, request: Request) -> Response:
        """GET shows what can be chosen; POST records one choice."""
        token = request.path_params["token"]
        if request.method != "POST":
            return await self._choices(token)
        body = await _body(request, _MAX_FORM_BYTES)
        claim = self._claim(token)
        if body is None:
            return _sorry(413, "This request is too long.")
        if claim is None:
            return _damaged()
        choice = parse_qs(body.decode("utf-8", "replace")).get("choice", [""])[0]
        kind, _, topic = choice.partition(":")
        is_about_feature = claim.feature_key != ""
        if is_about_feature and choice in ANSWERS:
            done = await _commit(
                lambda: self._ledger.people.answer(
                    claim.contact_id, kind=choice, feature_key=claim.feature_key, now=self._clock.now()
                )
            )
            text = "Thank you. We will send you no more e-mails about this feature."
        elif is_about_feature and choice == _TAKE_BACK:
            done = await _commit(
                lambda: self._ledger.people.take_back_answer(
                    claim.contact_id, feature_key=claim.feature_key, now=self._clock.now()
                )
            )
            text = "Your answer is taken back. We may write to you about this feature again."
        elif choice == "everything" or (kind == "topic" and topic in {*self._topics, claim.topic}):
            stopped = topic or None
            done = await _commit(lambda: self._stop(claim, topic=stopped, source="preference_page"))
            text = (
                "You will get no more e-mails of this kind from us."
                if stopped
                else "We will send you no more e-mails of this kind, whatever they are about."
            )
        else:
            return _sorry(400, "We could not tell what you chose. Please go back and use one of the buttons.")
        return _page("done", title="Done", text=text, token=token) if done else _unavailable()

    async def _choices(self, token: str) -> Response:
        """Show what can be chosen. A token that we did not sign gets the page of somebody who has not answered."""
        claim = self._claim(token)
        answers = ANSWERS if claim is None or claim.feature_key else {}  # a newsletter is about no feature
        given = await self._given(claim) if claim is not None and answers else None
        return _page(
            "preferences", token=token, topics=self._topics, answers=answers, given=given, take_back=_TAKE_BACK
        )

    async def _given(self, claim: Claim) -> str | None:
        """Return the answer that counts; None, too, when the ledger cannot say: the page has other buttons."""
        people = self._ledger.people
        try:
            return await run_in_threadpool(people.answer_of, claim.contact_id, feature_key=claim.feature_key)
        except Exception as error:
            _log.error("the ledger could not be read (%s)", type(error).__name__)
            return None

    def _claim(self, token: str) -> Claim | None:
        return self._tokens.read(token) if len(token) <= _MAX_TOKEN else None

    def _stop(self, claim: Claim, *, topic: str | None, source: str) -> None:
        # Every address they were ever mailed at, too: the raw data may have lost or changed it since.
        self._ledger.people.unsubscribe(claim.contact_id, topic=topic, source=source, now=self._clock.now())


class _Bodies:
    """Stores webhook bodies. Those that come while a transaction runs share the next one.

    So a storm costs a few commits instead of one for each post, and waits in one line instead of fifty threads that
    compete for the ledger. Each post is answered when its own body is committed.
    """

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._waiting: deque[tuple[bytes, asyncio.Future[bool]]] = deque()
        self._task: asyncio.Task[None] | None = None

    async def store(self, body: bytes) -> bool:
        """Return once the body is committed; False when it could not be."""
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((body, done))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._store_waiting())
        return await done

    async def _store_waiting(self) -> None:
        while self._waiting:
            group = self._next_group()
            bodies = [body for body, _ in group]
            is_stored = await _commit(lambda: self._ledger.delivery.store_all(bodies, now=self._clock.now()))  # noqa: B023
            for _, done in group:
                if not done.done():  # whoever asked may have gone
                    done.set_result(is_stored)

    def _next_group(self) -> list[tuple[bytes, asyncio.Future[bool]]]:
        group: list[tuple[bytes, asyncio.Future[bool]]] = []
        size = 0
        while self._waiting and (not group or size + len(self._waiting[0][0]) <= _MAX_COMMIT_BYTES):
            group.append(self._waiting.popleft())
            size += len(group[-1][0])
        return group


async def _body(request: Request, limit: int) -> bytes | None:
    """Return the body; None when it is longer than `limit`, without reading it to its end."""
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit:
        return None
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            return None
    return bytes(body)


async def _commit(write: Callable[[], object]) -> bool:
    """Run one write of the ledger; False when it did not get there."""
    try:
        await run_in_threadpool(write)
    except Exception as error:
        _log.error("the ledger could not store a request (%s)", type(error).__name__)
        return False
    return True


def _page(name: str, *, status: int = 200, **values: object) -> HTMLResponse:
    return HTMLResponse(_PAGES.get_template(name).render(**values), status_code=status, headers=_HEADERS)


def _sorry(status: int, text: str) -> HTMLResponse:
    return _page("done", status=status, title="That did not work", text=text, token="")


def _damaged() -> HTMLResponse:
    # Said plainly: somebody who believes to have stopped the e-mails would report the next one as spam.
    return _sorry(400, "This link is not complete. Please copy it whole from the e-mail, or reply to the e-mail.")


def _unavailable() -> HTMLResponse:
    return _sorry(503, "We could not store this just now. Nothing has changed; please try again in some minutes.")
