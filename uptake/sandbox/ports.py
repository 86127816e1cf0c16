"""Which ports a sandbox listens on: chosen once and remembered, because mails that were sent carry links to them."""

from __future__ import annotations

import json
import os
import secrets
import socket
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Ports:
    """Loopback ports."""

    public: int  # webhook, unsubscribe, preferences
    internal: int  # reports, inbox
    fakegrid: int


def marker_path(home: Path) -> Path:
    """Return where a demo's home says that it is one."""
    return home / "sandbox" / "demo.json"


def sandbox_ports(home: Path) -> Ports:
    """Return the ports of this home, choosing free ones the first time."""
    path = home / "sandbox" / "ports.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".ports.{secrets.token_hex(8)}.json")
        draft.write_text(json.dumps(asdict(_free())))
        try:
            os.link(draft, path)  # the first process wins
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return Ports(**json.loads(path.read_text()))


def _free() -> Ports:
    sockets = [socket.socket() for _ in range(3)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))  # all held open at once, so that they differ
        public, internal, fakegrid = (one.getsockname()[1] for one in sockets)
        return Ports(public=public, internal=internal, fakegrid=fakegrid)
    finally:
        for one in sockets:
            one.close()
