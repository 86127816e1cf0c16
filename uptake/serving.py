"""`uptake serve`: the public pages, on loopback the internal ones, and in a sandbox fakegrid with its people."""

from __future__ import annotations

import time
from contextlib import ExitStack

from rich.console import Console
from starlette.applications import Starlette

from uptake.bootstrap import Uptake
from uptake.sandbox.serving import Serving
from uptake.web_internal import SANDBOX_ROOMS, create_internal_app
from uptake.web_public import create_public_app

_POLL_SECONDS = 1.0


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
    with ExitStack() as running:
        if not uptake.settings.sandbox:
            internal = create_internal_app(uptake.home)
            web = running.enter_context(Serving(public, host=host, port=public_port))
            pages = running.enter_context(Serving(internal, port=internal_port))
            console.print(f"Public pages    {web.url}\nInternal pages  {pages.url}")
            while True:
                time.sleep(_POLL_SECONDS)
        _serve_sandbox(uptake, running, public, console)


def _serve_sandbox(uptake: Uptake, running: ExitStack, public: Starlette, console: Console) -> None:
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
        time.sleep(_POLL_SECONDS)
