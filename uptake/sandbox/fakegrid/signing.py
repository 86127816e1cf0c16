"""The event webhook's key pair: made once, kept in `$UPTAKE_HOME/fakegrid/webhook_key.pem`, mode 0600."""

from __future__ import annotations

import base64
import os
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from uptake.errors import SettingsError

SIGNATURE_HEADER = "X-Twilio-Email-Event-Webhook-Signature"
TIMESTAMP_HEADER = "X-Twilio-Email-Event-Webhook-Timestamp"


def webhook_public_key(home: Path) -> str:
    """Return the key that verifies fakegrid's webhooks, as SendGrid shows it: base64 of its DER form."""
    der = signing_key(home).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(der).decode()


def signing_key(home: Path) -> ec.EllipticCurvePrivateKey:
    """Return this home's private key, making it when there is none. Raises SettingsError."""
    path = home / "fakegrid" / "webhook_key.pem"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        _create(path)
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path}: cannot read the webhook key ({type(error).__name__}); delete it") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise SettingsError(f"{path}: expected an ECDSA P-256 key; delete it")
    return key


def sign(key: ec.EllipticCurvePrivateKey, timestamp: str, body: bytes) -> str:
    """Return the signature over timestamp and raw body, base64."""
    return base64.b64encode(key.sign(timestamp.encode() + body, ec.ECDSA(hashes.SHA256()))).decode()


def _create(path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    draft = path.with_name(f".webhook_key.{os.getpid()}.pem")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)  # the first process wins; a second one uses what the first made
    except FileExistsError:
        pass
    finally:
        draft.unlink()
