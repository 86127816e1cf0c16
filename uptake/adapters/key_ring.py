"""The key ring in `$UPTAKE_HOME/keys.json`: made once, mode 0600; rotation adds a key, never removes one."""

from __future__ import annotations

import base64
import json
import os
import secrets
from pathlib import Path

from uptake.errors import SettingsError
from uptake.ports import Keys

_BYTES = 32


def open_key_ring(home: Path) -> Keys:
    """Return the keys of this home, making the first one when there is none. Raises SettingsError."""
    path = home / "keys.json"
    if not path.exists():
        home.mkdir(parents=True, exist_ok=True)
        _create(path)
    try:
        keys = [base64.b64decode(key, validate=True) for key in json.loads(path.read_text())["keys"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingsError(
            f"{path}: cannot read the key ring ({type(error).__name__}); restore it from a backup"
        ) from error
    if not keys or any(len(key) != _BYTES for key in keys):
        raise SettingsError(f"{path}: expected at least one key of {_BYTES} bytes; restore it from a backup")
    return Keys(pseudonym=keys[0], tokens=tuple(reversed(keys)))


def rotate(home: Path) -> None:
    """Add a key that signs new tokens; the old ones still verify."""
    open_key_ring(home)
    path = home / "keys.json"
    ring = json.loads(path.read_text())
    ring["keys"].append(_new_key())
    _replace(path, ring)


def _new_key() -> str:
    return base64.b64encode(secrets.token_bytes(_BYTES)).decode()


def _create(path: Path) -> None:
    draft = path.with_name(f".keys.{secrets.token_hex(8)}.json")
    _write(draft, {"keys": [_new_key()]})
    try:
        os.link(draft, path)  # the first process wins; a second one uses what the first made
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def _replace(path: Path, ring: dict[str, list[str]]) -> None:
    draft = path.with_name(f".keys.{secrets.token_hex(8)}.json")
    _write(draft, ring)
    draft.replace(path)


def _write(path: Path, ring: dict[str, list[str]]) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(ring, file)
        file.flush()
        os.fsync(file.fileno())
