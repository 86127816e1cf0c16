"""`uptake serve`: the public pages, on loopback the internal ones, and in a sandbox fakegrid with its people."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from datetime import timedelta

from rich.console import Console
from starlette.applications import Starlette

from uptake.bootstrap import Uptake
from uptake.errors import UptakeError
from uptake.sandbox.serving import Serving
from uptake.web_internal import SANDBOX_ROOMS, create_internal_app
from uptake.web_public import create_public_app

_log = logging.getLogger(__name__)

_POLL_SECONDS = 1.0
_TELL_EVERY = timedelta(minutes=5)
_TELL_AGAIN = timedelta(minutes=10)  # a stop may be committed later than it was recorded


class StopsTeller:
    """Tells the mail service every five minutes who unsubscribed, so that whoever else sends through it stops, too.

    It remembers nothing that has to last: it begins with the last day, and `uptake nightly` compares both sides whole.
    """

    def __init__(self, uptake: Uptake) -> None:
        self._uptake = uptake
        self._due = uptake.clock.now()
        self._since = self._due - timedelta(days=1)

    def tell_due(self) -> None:
        """Tell what is new, if it is time; a service that does not listen is told again next time."""
        now = self._uptake.clock.now()
        if now < self._due:
            return
        self._due = now + _TELL_EVERY
        try:
            self._uptake.tell_stops(since=self._since)
        except UptakeError as error:
            _log.warning("the mail service was not told who unsubscribed, it will be in five minutes: %s", error)
        else:
            self._since = now - _TELL_AGAIN


def serve_all(uptake: Uptake, *, host: str, public_port: int, internal_port: int) -> None:
    """Serve until interrupted. Raises SettingsError when a port is taken."""
    console = Console(highlight=False)
    public = create_public_app(
        uptake.ledger,
        tokens=uptake.tokens,
        clock=uptake.clock,
        webhook_keys=uptake.webhook_keys,
        topics=list(uptake.playbooks.workspace().topics),
    )
    teller = StopsTeller(uptake)
    with ExitStack() as running:
        if not uptake.settings.sandbox:
            internal = create_internal_app(uptake.home)
            web = running.enter_context(Serving(public, host=host, port=public_port))
            pages = running.enter_context(Serving(internal, port=internal_port))
            console.print(f"Public pages    {web.url}\nInternal pages  {pages.url}")
            while True:
                teller.tell_due()
                time.sleep(_POLL_SECONDS)
        _serve_sandbox(uptake, running, public, teller, console)


def _serve_sandbox(
    uptake: Uptake, running: ExitStack, public: Starlette, teller: StopsTeller, console: Console
) -> None:
    """Serve fakegrid, too, and let its people react as the sandbox clock moves."""
    from uptake.sandbox import ACCOUNTS, CONTACTS, SEED
    from uptake.sandbox.base import simulate
    from uptake.sandbox.catalogue import read_catalogue
    from uptake.sandbox.demo import demo_identity
    from uptake.sandbox.fakegrid import EventPoster, create_fakegrid
    from uptake.sandbox.inbox import create_inbox_app
    from uptake.sandbox.people import SimulatedPeople
    from uptake.sandbox.ports import sandbox_ports

    ports = sandbox_ports(uptake.home)
    fakegrid = create_fakegrid(uptake.home, clock=uptake.clock, api_key=uptake.sandbox_key)
    running.enter_context(Serving(fakegrid, port=ports.fakegrid))
    web = running.enter_context(Serving(public, port=ports.public))
    internal = create_internal_app(uptake.home, inbox=create_inbox_app(uptake.home, rooms=SANDBOX_ROOMS))
    pages = running.enter_context(Serving(internal, port=ports.internal))
    console.print(
        f"Public pages    {web.url}\nInternal pages  {pages.url}\nfakegrid        http://127.0.0.1:{ports.fakegrid}"
    )
    lived = demo_identity(uptake.home)  # the people who react must be the ones who were mailed
    base = simulate(
        lived.get("seed", SEED),
        read_catalogue(uptake.feature_catalogue),
        accounts=lived.get("accounts", ACCOUNTS),
        contacts=lived.get("contacts", CONTACTS),
    )
    people = SimulatedPeople(base)
    poster = EventPoster(uptake.home, f"{web.url}/webhooks/sendgrid", people)
    running.callback(poster.close)
    while True:
        poster.post_due(uptake.clock.now())
        teller.tell_due()
        time.sleep(_POLL_SECONDS)
