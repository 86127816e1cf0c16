from datetime import timedelta

import pyarrow as pa
import pytest

from tests.adapters.ledger.conftest import address_of, hash_of
from tests.adapters.ledger.test_delivery import Type, event, fold
from uptake.adapters.ledger.schema import webhook_batches
from uptake.domain.eligibility import Reason
from uptake.domain.erasure import Subject
from uptake.domain.ids import erased_token

ANN, BOB = ("ann", "a1"), ("bob", "a1")


def subject(contact_id: str) -> Subject:
    return Subject(address=address_of(contact_id), names=(), token=erased_token(hash_of(contact_id)))


def erase(world, contact_id: str = "ann") -> int:
    return world.ledger.erasures.erase(hash_of(contact_id), by="Grace", now=world.now)


def test_everybody_with_the_address_is_blanked_once_and_nobody_else(world):
    world.load(ANN, BOB)
    assert world.ledger.erasures.names(hash_of("ann")) == ["Ann"]
    assert (erase(world), erase(world)) == (1, 0)
    blank = world.ledger.people.person("ann")
    assert blank is not None
    assert {name: value for name, value in blank.items() if value is not None} == {
        "contact_id": "ann",
        "account_id": "a1",
    }
    assert world.ledger.people.person("bob")["address"] == address_of("bob")


def test_whose_address_the_source_lost_is_found_by_it(world):
    world.load(ANN)
    lost = {"contact_id": ["ann"], "account_id": ["a1"], "address": pa.nulls(1, pa.string()), "full_name": ["Ann"]}
    world.ledger.people.load(pa.table(lost), now=world.now)
    assert world.ledger.erasures.names(hash_of("ann")) == ["Ann"]
    assert erase(world) == 1
    assert world.ledger.people.person("ann")["full_name"] is None


def test_who_is_named_anew_stays_forgotten(world):
    world.load(ANN)
    erase(world)
    world.load(ANN, ("ann-again", "a2"), BOB)
    assert world.ledger.people.person("ann")["address"] is None
    assert world.ledger.people.person("ann-again")["address"] == address_of("ann-again")


def test_an_address_that_was_never_known_is_forgotten_before_it_comes(world):
    assert erase(world, "ann") == 0
    world.load(ANN)
    assert world.ledger.people.person("ann")["address"] is None


def test_a_claimed_mail_does_not_leave(world):
    (send_id,) = world.planned(ANN)
    world.claim()
    erase(world)
    assert world.intend([send_id])[send_id] in (Reason.ERASED, Reason.SUPPRESSED)


def test_webhook_bodies_lose_the_address_and_keep_the_rest(world):
    (send_id,) = world.planned(ANN)
    world.claim()
    world.intend([send_id])
    world.ledger.sends.accepted([send_id], message_id="m", now=world.now)
    body = b'[{"email":"ann@example.invalid","event":"open"},{"email":"bob@example.invalid","event":"open"}]'
    world.ledger.delivery.store(body, now=world.now)
    (batch,) = world.ledger.delivery.unfolded(1)
    assert world.ledger.erasures.redact_bodies(subject("ann")) == 0, "what is not folded may still be needed"
    world.ledger.delivery.fold(batch, [event(world, Type.OPEN, send_id)], unreadable=0, now=world.now)
    assert [world.ledger.erasures.redact_bodies(subject("ann")) for _ in range(2)] == [1, 0]
    assert bodies(world) == [b'[{"email":null,"event":"open"},{"email":"bob@example.invalid","event":"open"}]']


def test_what_is_told_of_somebody_after_they_were_forgotten_is_kept_without_them(world):
    (send_id,) = world.planned(ANN)
    world.claim()
    world.intend([send_id])
    world.ledger.sends.accepted([send_id], message_id="m", now=world.now)
    erase(world)
    world.ledger.delivery.store(b'[{"email":"ann@example.invalid","event":"delivered"}]', now=world.now)
    (batch,) = world.ledger.delivery.unfolded(1)
    world.ledger.delivery.fold(batch, [event(world, Type.DELIVERED, send_id)], unreadable=0, now=world.now)
    assert bodies(world) == [b'[{"email":null,"event":"delivered"}]']
    assert world.status(send_id) == "delivered"


def bodies(world) -> list[bytes]:
    """What the ledger keeps of webhook bodies, read around its ports: no port shows a folded one."""
    with world.ledger._store.read() as connection:
        return [
            bytes(body)
            for body in connection.scalars(webhook_batches.select().with_only_columns(webhook_batches.c.body))
        ]


def test_all_that_is_known_of_a_person_and_of_nobody_else(world):
    send_ids = world.planned(ANN, BOB)
    world.claim()
    world.intend(send_ids)
    world.ledger.sends.accepted(send_ids, message_id="m", now=world.now)
    fold(world, event(world, Type.DELIVERED, send_ids[0]), event(world, Type.OPEN, send_ids[1], contact_id="bob"))
    world.ledger.people.answer("ann", kind="not_needed", feature_key="dashboards", now=world.now)
    known = world.ledger.erasures.known(hash_of("ann"))
    assert {name: len(rows) for name, rows in known.items()} == {
        "people": 1, "consents": 0, "suppressions": 0, "erasures": 0, "preferences": 1, "enrollments": 1, "mails": 1,
        "delivery_events": 1, "tasks": 0,
    }  # fmt: skip
    assert known["mails"][0]["send_id"] == send_ids[0]
    erase(world)
    after = world.ledger.erasures.known(hash_of("ann"))
    assert (len(after["suppressions"]), len(after["erasures"])) == (1, 1)
    assert after["people"][0]["full_name"] is None


def test_a_report_is_kept_and_says_when_all_was_done(world):
    world.load(ANN)
    erase(world)
    finish = world.ledger.erasures.finish
    finish(hash_of("ann"), report={"found": ["a file"]}, now=None)
    assert world.ledger.erasures.known(hash_of("ann"))["erasures"][0]["completed_at"] is None
    finish(hash_of("ann"), report={"found": []}, now=world.now + timedelta(hours=1))
    (row,) = world.ledger.erasures.known(hash_of("ann"))["erasures"]
    assert (row["completed_at"], row["report"]) == (world.now + timedelta(hours=1), '{"found": []}')


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_no_byte_of_the_address_is_left_in_the_file(world, tmp_path):
    world.load(ANN, BOB)
    erase(world)
    world.ledger.erasures.compact()
    content = b"".join(path.read_bytes() for path in tmp_path.glob("ledger.sqlite3*"))
    assert address_of("ann").encode() not in content
    assert address_of("bob").encode() in content
