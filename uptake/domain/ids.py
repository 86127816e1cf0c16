"""Public ids: keyed hashes, the same on every run, machine and engine.

The marts compute contact ids in SQL (`dbt_project/macros/keyed_hash.sql`) with the same bytes.
"""

from __future__ import annotations

import hmac

SEPARATOR = "\x1f"  # the ASCII unit separator: cannot be typed into an account or user id by accident
SEND = "send"  # what the id of a send is a hash of, first


def keyed_hash(key: bytes, *parts: str) -> str:
    """Return the first 128 bits of HMAC-SHA256 over the parts, as 32 hex digits."""
    return hmac.digest(key, SEPARATOR.join(parts).encode(), "sha256").hex()[:32]


def contact_id(key: bytes, *, account_id: str, user_id: str) -> str:
    """Return the pseudonym of one user in one account."""
    return keyed_hash(key, "contact", account_id, user_id)


def send_id(key: bytes, *, playbook: str, account_id: str, entry_no: int, stage_key: str, contact_id: str) -> str:
    """Return the id a message carries to the mail service and back.

    It depends on nothing a lost ledger would forget, so events still match after a restore.
    """
    return keyed_hash(key, SEND, playbook, account_id, str(entry_no), stage_key, contact_id)


def address_hash(key: bytes, address: str) -> str:
    """Return the hash under which an e-mail address is suppressed, also after its erasure."""
    return keyed_hash(key, "address", address.strip().lower())


def erased_token(address_hash: str) -> str:
    """Return what stands where a forgotten address was an identity: the same everywhere, and no address."""
    return f"erased-{address_hash[:16]}"
