"""`uptake doctor`: whether a home can do its work, and what to do about what it lacks.

It changes nothing but the ledger's schema, which every command brings up to date.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING

import httpx

from uptake.adapters.snapshots_duckdb import open_marts
from uptake.errors import UptakeError
from uptake.operations.gate import fresh_gate
from uptake.operations.status import alarms

if TYPE_CHECKING:
    from uptake.wiring import Wiring

_ROOM = 2 * 1024**3  # bytes: a refresh writes the warehouse anew beside the old one
_PATIENCE = 5.0  # seconds
_REFUSED = (401, 403)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    name: str
    found: str
    todo: str | None = None  # what to do about it; None: it is in order


def examine(uptake: Wiring) -> list[Finding]:
    """Look at everything a home needs; whatever cannot be looked at is itself a finding."""
    found: list[Finding] = []
    for name, look in _LOOKS.items():
        try:
            found += look(uptake, name)
        except UptakeError as error:
            found.append(Finding(name=name, found=str(error), todo="mend that, and ask again"))
    return found


def _home(uptake: Wiring, name: str) -> Iterator[Finding]:
    home = uptake.home
    if not home.is_dir() or not os.access(home, os.W_OK):
        yield Finding(name=name, found=f"{home} cannot be written", todo="set UPTAKE_HOME to a folder that can be")
        return
    free = shutil.disk_usage(home).free
    told = f"{home}, {free / 1024**3:.1f} GiB free" + (", a sandbox" if uptake.settings.sandbox else "")
    yield Finding(name=name, found=told, todo=None if free >= _ROOM else "make room: a refresh may need 2 GiB")


def _keys(uptake: Wiring, name: str) -> Iterator[Finding]:
    file = uptake.home / "keys.json"
    if not file.is_file():
        lost = "put it back from the backup; only a home that has sent nothing may begin with a new one"
        yield Finding(name=name, found="keys.json is missing", todo=lost)
        return
    mode = stat.S_IMODE(file.stat().st_mode)
    todo = f"chmod 600 {file}" if mode & 0o077 else None
    yield Finding(name=name, found=f"keys.json, mode {mode:04o}; belongs into the backup of the ledger", todo=todo)


def _ledger(uptake: Wiring, name: str) -> Iterator[Finding]:
    told = uptake.ledger.durability()
    wrong = "sqlite" in told and "synchronous FULL" not in told
    yield Finding(name=name, found=told, todo="report it: a lost intent is a doubled mail" if wrong else None)


def _snapshot(uptake: Wiring, name: str) -> Iterator[Finding]:
    gate = fresh_gate(uptake.snapshots, uptake.ledger, uptake.clock.now())
    if gate.held is not None or gate.snapshot is None:
        yield Finding(name=name, found=gate.held or "there is none", todo=gate.opens)
        return
    open_marts(gate.snapshot, threads=1).close()  # raises what it lacks
    told = f"{gate.snapshot.snapshot_id}, as of {gate.snapshot.as_of:%Y-%m-%d %H:%M} UTC, passed its gate"
    yield Finding(name=name, found=told)


def _mail(uptake: Wiring, name: str) -> Iterator[Finding]:
    settings = uptake.settings
    sink = "" if settings.mail_sink is None else ", to the sink alone"
    where = f"{settings.environment}{sink}, {settings.sendgrid_base_url}"
    mailer = uptake.mailer  # raises what is not set, and what mails nobody
    mailer.close()
    uptake.__dict__.pop("mailer", None)
    key = uptake.sandbox_key if settings.sandbox else settings.sendgrid_api_key
    secret = key if isinstance(key, str) or key is None else key.get_secret_value()
    try:
        answer = httpx.get(
            f"{settings.sendgrid_base_url}/v3/scopes", headers={"Authorization": f"Bearer {secret}"}, timeout=_PATIENCE
        )
    except httpx.HTTPError as error:
        todo = "`uptake serve` runs the sandbox's" if settings.sandbox else "see that this machine reaches it"
        yield Finding(name=name, found=f"{where}: not reached ({type(error).__name__})", todo=todo)
        return
    if answer.status_code in _REFUSED:
        yield Finding(name=name, found=f"{where}: the key is refused", todo="set SENDGRID_API_KEY to a valid one")
    elif answer.status_code == httpx.codes.OK and "mail.send" not in answer.text:
        yield Finding(name=name, found=f"{where}: the key may not send", todo="give it the scope mail.send")
    else:
        told = (
            "the key may send" if answer.status_code == httpx.codes.OK else "it answers; what the key may is not said"
        )
        yield Finding(name=name, found=f"{where}: {told}")


def _webhook(uptake: Wiring, name: str) -> Iterator[Finding]:
    keys = len(uptake.webhook_keys)
    todo = "set UPTAKE_WEBHOOK_PUBLIC_KEY: without it no delivery event is believed"
    yield Finding(name=name, found=f"{keys} public key(s)", todo=None if keys else todo)


def _ticks(uptake: Wiring, name: str) -> Iterator[Finding]:
    now, last = uptake.clock.now(), uptake.ledger.runs.last_heartbeat("tick")
    if last is None:
        yield Finding(name=name, found="none yet", todo="`uptake tick`, or the schedule of its deployment")
        return
    last = last.replace(tzinfo=UTC) if last.tzinfo is None else last
    told = f"the last at {last:%Y-%m-%d %H:%M} UTC, now is {now:%Y-%m-%d %H:%M}"
    if last > now:
        yield Finding(name=name, found=told, todo="set this machine's clock: the ledger knows of a later moment")
    elif now - last > 2 * uptake.settings.tick_interval:
        todo = "let `uptake tick` run hourly; after such a gap it asks SendGrid first what was sent"
        yield Finding(name=name, found=told, todo=todo)
    else:
        yield Finding(name=name, found=told)


def _alarms(uptake: Wiring, name: str) -> Iterator[Finding]:
    found = alarms(uptake.ledger, now=uptake.clock.now(), tick_interval=uptake.settings.tick_interval)
    for one in found:
        yield Finding(name=name, found=one, todo="`uptake status` has more")
    if not found:
        yield Finding(name=name, found="none")


_LOOKS: dict[str, Callable[[Wiring, str], Iterator[Finding]]] = {
    "home": _home,
    "keys": _keys,
    "ledger": _ledger,
    "snapshot": _snapshot,
    "mail": _mail,
    "webhook": _webhook,
    "ticks": _ticks,
    "alarms": _alarms,
}
