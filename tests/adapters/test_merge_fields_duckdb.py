from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from uptake.adapters.merge_fields_duckdb import DuckMergeFields
from uptake.domain.playbooks import Release
from uptake.errors import SnapshotError
from uptake.ports import Claimed, Snapshot
from uptake.testing import write_snapshot

NOW = datetime(2026, 3, 3, 9, tzinfo=UTC)
RELEASE = Release.model_validate(
    {
        "name": "activate",
        "playbook": {
            "teaches": "boards",
            "topic": "training",
            "audience": {"where": "account.plan == 'team'"},
            "goal": {"within": "28d"},
            "holdout": "10%",
            "stages": {"why": {"email": "why.md"}},
        },
        "workspace": {
            "sender": {"name": "Ada", "address": "ada@acme.example"},
            "postal_address": "Acme, 1 Road, 12345 Town",
            "topics": {"training": 7},
            "caps": {"person": {"mails": 2, "per": "7d"}, "account": {"mails": 9, "per": "7d"}},
            "window": {"start": "09:00", "end": "17:00"},
        },
        "texts": {
            "why": {
                "subject": "{{ account.plan }} {{ account.renewal_on }} {{ contact.role }}",
                "body": "{{ feature.guide_url }} {{ feature.minutes_saved_per_use }} {{ feature.days_used_28 }}"
                " {{ feature.last_used_on }} {{ account_feature.adoption_state }}",
            }
        },
        "layout": "<mjml/>",
    }
)
MARTS = {
    "accounts_current": [
        {"account_id": "a1", "plan": "team", "arr": 24000.0, "renewal_on": date(2026, 6, 1)},
        {"account_id": "a2", "plan": None},
    ],
    "contacts_current": [
        {"contact_id": "c1", "account_id": "a1", "role": "admin", "active_days_28": 4},
        {"contact_id": "c2", "account_id": "a2", "role": None},
    ],
    "dim_features": [
        {
            "feature_key": "boards",
            "name": "Boards",
            "guide_url": "https://docs.acme.example/b",
            "minutes_saved_per_use": 3.0,
        },
        {"feature_key": "exports", "name": "Exports"},
    ],
    "contact_features": [
        {
            "contact_id": "c1",
            "account_id": "a1",
            "feature_key": "boards",
            "adoption_state": "tried",
            "days_used_28": 2,
            "last_used_on": date(2026, 3, 1),
        }
    ],
    "account_features": [
        {"account_id": "a1", "feature_key": "boards", "adoption_state": "adopted", "days_used_28": 9},
    ],
}


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    return write_snapshot(tmp_path, as_of=NOW, marts=MARTS)


def claimed(send_id: str, contact_id: str = "c1", account_id: str = "a1", feature_key: str = "boards") -> Claimed:
    return Claimed(
        send_id=send_id,
        enrollment_id=1,
        version_id=1,
        playbook="activate",
        stage_key="why",
        account_id=account_id,
        contact_id=contact_id,
        feature_key=feature_key,
        snapshot_id="test",
        address="eve@customer.example",
        given_name="Eve",
        full_name="Eve Example",
        locale="en",
    )


def test_each_message_gets_the_rows_of_its_person(snapshot):
    values = DuckMergeFields().values(snapshot, RELEASE, [claimed("s1")])["s1"]
    assert values["account"]["plan"] == "team"
    assert values["account"]["renewal_on"] == date(2026, 6, 1)
    assert values["contact"]["role"] == "admin"
    assert values["contact"]["given_name"] == "Eve"
    assert values["feature"]["name"] == "Boards"
    assert values["feature"]["guide_url"] == "https://docs.acme.example/b"
    assert values["feature"]["minutes_saved_per_use"] == 3.0
    assert (values["feature"]["adoption_state"], values["feature"]["days_used_28"]) == ("tried", 2)
    assert values["account_feature"]["adoption_state"] == "adopted"
    assert values["sender"] == {"name": "Ada", "address": "ada@acme.example"}


def test_no_row_of_the_sparse_marts_means_never(snapshot):
    values = DuckMergeFields().values(snapshot, RELEASE, [claimed("s1", feature_key="exports")])["s1"]
    assert (values["feature"]["adoption_state"], values["feature"]["days_used_28"]) == ("never", 0)
    assert values["feature"]["last_used_on"] is None
    assert values["feature"]["guide_url"] is None
    assert values["account_feature"]["adoption_state"] == "never"


def test_unknown_stays_unknown(snapshot):
    values = DuckMergeFields().values(snapshot, RELEASE, [claimed("s2", "c2", "a2", "unknown")])["s2"]
    assert values["account"]["plan"] is None
    assert values["contact"]["role"] is None
    assert values["feature"]["name"] is None
    assert values["feature"]["feature_key"] == "unknown"


def test_who_is_not_in_the_snapshot_is_absent(snapshot):
    sends = [claimed("s1"), claimed("s2", "gone"), claimed("s3", "c2", "gone"), claimed("s4", "c2", "a2")]
    assert set(DuckMergeFields().values(snapshot, RELEASE, sends)) == {"s1", "s4"}


def test_many_messages_are_read_at_once_and_the_snapshot_stays_open(snapshot, monkeypatch):
    fields = DuckMergeFields()
    first = fields.values(snapshot, RELEASE, [claimed(f"s{n}") for n in range(50)])
    monkeypatch.setattr("uptake.adapters.loaded_marts.open_marts", None)
    again = fields.values(snapshot, RELEASE, [claimed("x")])
    assert len(first) == 50
    assert again["x"] == first["s0"]


def test_another_snapshot_is_another_truth(snapshot, tmp_path):
    fields = DuckMergeFields()
    fields.values(snapshot, RELEASE, [claimed("s1")])
    marts = {**MARTS, "accounts_current": [{"account_id": "a1", "plan": "business"}]}
    later = write_snapshot(tmp_path, as_of=NOW, marts=marts, snapshot_id="later")
    assert fields.values(later, RELEASE, [claimed("s1")])["s1"]["account"]["plan"] == "business"


def test_no_column_is_read_that_no_text_names(snapshot):
    values = DuckMergeFields().values(snapshot, RELEASE, [claimed("s1")])["s1"]
    assert set(values["account"]) == {"plan", "renewal_on"}
    assert set(values["contact"]) == {"role", "given_name", "full_name"}
    assert set(values["account_feature"]) == {"adoption_state"}


def test_a_text_that_asks_for_nothing_of_the_sparse_marts_gets_nothing_of_them(snapshot):
    texts = {"why": RELEASE.texts["why"].model_copy(update={"subject": "s", "body": "{{ contact.given_name }}"})}
    values = DuckMergeFields().values(snapshot, RELEASE.model_copy(update={"texts": texts}), [claimed("s1")])["s1"]
    assert (values["account"], values["account_feature"]) == ({}, {})
    assert values["feature"] == {
        "name": "Boards",
        "adoption_state": "tried",
        "feature_key": "boards",
    }  # why they get it


def test_nothing_claimed_is_nothing_read(snapshot):
    assert DuckMergeFields().values(snapshot, RELEASE, []) == {}


def test_a_damaged_snapshot_says_so(snapshot):
    (snapshot.directory / "accounts_current.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(SnapshotError, match="test"):
        DuckMergeFields().values(snapshot, RELEASE, [claimed("s1")])
