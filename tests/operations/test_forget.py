"""T21: a hundred people are forgotten; not a byte of any of them is left, and none is mailed again."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from tests.operations.conftest import KEYS, NOW
from uptake.adapters.personal_files import HomeFiles
from uptake.domain.ids import address_hash
from uptake.errors import MailerUnavailable, Refused
from uptake.operations.forget import export, forget


class Service:
    """A mail service that erases, or cannot be reached."""

    def __init__(self) -> None:
        self.erased: list[str] = []
        self.is_there = True

    def erase(self, address: str) -> str:
        if not self.is_there:
            raise MailerUnavailable("SendGrid cannot be reached")
        self.erased.append(address)
        return "j"


@pytest.fixture
def home(town) -> Path:
    """A home whose raw folder names everybody."""
    raw = town.folder / "raw"
    raw.mkdir()
    lines = [json.dumps({"email": row["address"], "n": place}) for place, row in enumerate(town.contacts.values())]
    (raw / "contacts.ndjson").write_text("\n".join(lines) + "\n")
    return town.folder


def order(town, home, service, address, **changes):
    files = HomeFiles(home, home / "raw")
    given = {"address": address, "by": "Grace", "now": NOW} | changes
    return forget(town.ledger, KEYS, files, service, **given)


@pytest.mark.parametrize("count", [100])
def test_of_a_hundred_people_nothing_is_left_and_none_is_mailed(town, home, count):
    town.settle(80, prefix="more", is_plain=True)
    town.publish()
    lines = [json.dumps({"email": row["address"]}) for row in town.contacts.values()]
    (home / "raw" / "contacts.ndjson").write_text("\n".join(lines) + "\n")
    town.approve()
    town.tick()
    canaries = sorted(row["address"] for row in town.contacts.values())[:count]
    others = sorted({row["address"] for row in town.contacts.values()} - set(canaries))
    service = Service()
    reports = [order(town, home, service, address) for address in canaries]
    assert all(report.is_complete for report in reports)
    assert service.erased == canaries
    content = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file()).lower()
    assert [address for address in canaries if address.encode() in content] == []
    assert all(address.encode() in content for address in others)
    town.publish(NOW + timedelta(days=1), snapshot_id="next")  # the source names them anew
    town.ledger.sends.expire(now=NOW + timedelta(days=1))  # what was planned yesterday is decided again
    town.tick(NOW + timedelta(days=1))
    gone = {address_hash(KEYS.pseudonym, address) for address in canaries}
    assert town.send(NOW + timedelta(days=1)) != []
    assert {one for (one,) in town.rows("select address_hash from sends where accepted_at is not null")} & gone == set()


def test_the_proof_tells_what_was_done_and_by_whom_but_not_of_whom(town, home):
    address = next(iter(town.contacts.values()))["address"]
    report = order(town, home, Service(), address)
    assert (report.contacts, report.files, report.mail_service) == (1, {"contacts.ndjson": 1}, "job j")
    (kept,) = town.rows("select requested_by, report, completed_at is not null from erasures")
    assert kept[0] == "Grace"
    assert kept[2]
    assert address not in kept[1]


def test_what_could_not_be_reached_is_named_and_done_by_the_next_run(town, home):
    address = next(iter(town.contacts.values()))["address"]
    service = Service()
    service.is_there = False
    (home / "notes.txt").write_text(f"call {address}")
    report = order(town, home, service, address)
    assert not report.is_complete
    assert report.found == ["notes.txt"]
    assert "cannot be reached" in report.mail_service
    assert town.rows("select completed_at from erasures") == [(None,)]
    (home / "notes.txt").unlink()
    service.is_there = True
    assert order(town, home, service, address).is_complete


@pytest.mark.parametrize(("address", "by"), [("ann", "Grace"), ("a b@x.example", "Grace"), ("ann@x.example", "  ")])
def test_what_is_no_address_or_nobodys_order_is_refused(town, home, address, by):
    with pytest.raises(Refused, match="expected"):
        order(town, home, Service(), address, by=by)


def test_all_that_is_known_is_told(town):
    row = next(iter(town.contacts.values()))
    known = export(town.ledger, KEYS, address=row["address"].upper())
    assert [one["contact_id"] for one in known["people"]] == [row["contact_id"]]
