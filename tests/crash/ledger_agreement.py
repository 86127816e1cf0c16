"""Whether a ledger stands as the model says: its mails, people and orders after each step, its stops at the end."""

from __future__ import annotations

from collections import Counter

from tests.crash.ledger_base import IDS
from tests.crash.ledger_model import Model
from tests.crash.outbox import KEYS, RELEASE
from uptake.adapters.ledger import SqlLedger
from uptake.domain.eligibility import Reason
from uptake.domain.ids import address_hash
from uptake.domain.sends import SuppressionReason


def agree(ledger: SqlLedger, model: Model, what: str) -> None:
    """Compare every mail and everybody; `what` has just happened."""
    with ledger._store.read() as connection:
        mails, contacts, people = (
            connection.exec_driver_sql(query).fetchall()
            for query in (
                "select send_id, status, reason, owner, attempt from sends",
                "select contact_id, status, end_reason from enrollment_contacts",
                "select contact_id, address, erased_at is not null from people",
            )
        )
    assert {IDS[one]: _seen(status, reason, owner, attempt) for one, status, reason, owner, attempt in mails} == {
        key: _seen(mail.status, mail.reason, mail.owner, mail.attempt) for key, mail in model.mails.items()
    }, what
    assert {name: reason if status == "ended" else None for name, status, reason in contacts} == {
        name: person.ended for name, person in model.people.items()
    }, what
    assert {name: (address, bool(erased)) for name, address, erased in people} == {
        name: (person.address, person.is_erased) for name, person in model.people.items()
    }, what
    for key, count in Counter(key for key, _, _ in model.accepted).items():
        assert count <= 1 + model.mails[key].releases, f"{key} was accepted {count} times"


def agree_on_orders(ledger: SqlLedger, model: Model, what: str) -> None:
    """Compare what is paused, stopped and locked."""
    state = ledger.releases.controls()
    assert (state.everything is not None) == (model.ordered("all") is not None), what
    is_locked = model.ordered("sending") is not None or model.forgotten is not None
    assert (state.sending_locked is not None) == is_locked, what
    assert (state.forgotten is not None) == (model.forgotten is not None), what
    assert state.playbooks.get(RELEASE.name) == model.ordered("playbook"), what
    assert state.accounts.get("c0") == model.ordered("account", "c0"), what


def agree_on_stops(ledger: SqlLedger, model: Model) -> None:
    """Compare the addresses that get nothing more, by reason and topic."""
    for reason in SuppressionReason:
        for topic in ("", "training", "other"):
            found = ledger.people.suppressed(reason=reason, topic=topic or None)
            expected = {
                address_hash(KEYS.pseudonym, address)
                for (address, about, why), (since, lifted) in model.stops.items()
                if (about, why) == (topic, reason.value) and since is not None and (lifted is None or since >= lifted)
            }
            assert found == expected, (reason, topic)


def _seen(status: str, reason: str | None, owner: str | None, attempt: int) -> tuple[object, ...]:
    """What is compared of a mail: its reason while withheld, its owner while a worker holds it."""
    return (
        status,
        Reason(reason).value if status == "withheld" and reason else None,
        owner if status in ("claimed", "sending") else None,
        attempt,
    )
