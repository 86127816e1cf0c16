"""Mapping files: what a person may write, and what they are told when they slip."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML

from uptake.adapters.source_mapping import read_mapping, schema
from uptake.errors import TransformError

MAPPING = """\
name: shop
events:
  files: log.csv
  account_id: company
  user_id: user
  event_name: [area, action]
  occurred_at: {column: at, unit: seconds}
"""
LOG = "company,user,area,action,at\nacme,ada,cart,filled,1700000000\n"


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A raw folder with one log."""
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/log.csv").write_text(LOG)
    return tmp_path / "raw"


def refused(tmp_path: Path, text: str, raw: Path | None = None) -> str:
    """Return what is said about a mapping, without the folder it lies in."""
    (tmp_path / "shop.yml").write_text(text)
    with pytest.raises(TransformError) as caught:
        read_mapping(tmp_path / "shop.yml").resolved(raw or tmp_path)
    return str(caught.value).replace(f"{tmp_path}/", "")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("event_name:", "event_nam:", "shop.yml:6: events.event_nam: unknown key; did you mean `event_name`?"),
        ("  account_id: company\n", "", "shop.yml:2: events.account_id: the key is missing"),
        ("name: shop", "name: My Shop", "shop.yml:1: name: string should match pattern"),
        ("name: shop", "name: shop\nas_of: yesterday", "shop.yml:2: as_of: expected 'now' or 'last_event'"),
        ("account_id: company", "account_id: {column: company, value: x}",
         "shop.yml:4: events.account_id: found column and value; expected one of column, columns, first_of, value"),
        ("account_id: company", "account_id: 7", "shop.yml:4: events.account_id: expected"),
        ("unit: seconds", "unit: second", "shop.yml:7: events.occurred_at.unit: expected 'iso', 'seconds'"),
        ("unit: seconds", "format: '%Q'", "shop.yml:7: events.occurred_at.format: '%Q' is no form of a time"),
        ("unit: seconds", "zone: Berlin", "shop.yml:7: events.occurred_at.zone: unknown time zone 'Berlin'"),
        ("unit: seconds", "zone: [Europe/Berlin]", "shop.yml:7: events.occurred_at.zone: unknown time zone ['Europe/"),
        ("files: log.csv", "files: ../log.csv", "shop.yml:3: events.files.0: '../log.csv' leads out of the raw folder"),
        ("files: log.csv", "files: [[log.csv]]", "shop.yml:3: events.files.0: expected a text"),
        ("files: log.csv", "files: log.csv\n  reader: {csv: {encoding: latin-99}}",
         "shop.yml:4: events.reader.csv.encoding: unknown encoding 'latin-99'"),
        ("files: log.csv", "files: log.csv\n  lookup: {}", "shop.yml:4: events.lookup: unknown key"),
        ("name: shop", "name: shop\nfeatures: every_event", "shop.yml:2: features: found 'every_event'; expected each"),
        ("name: shop", "name: shop\nfeatures: {Cart: cart}", "shop.yml:2: features.Cart: 'Cart' is no key; expected"),
        ("name: shop", "name: shop\nfeatures: {cart: a|b}", "shop.yml:2: features.cart.events.0: 'a|b' holds a |"),
        ("name: shop", "name: shop\nfeatures: {cart: [x, true]}", "shop.yml:2: features.cart.events.1: expected a te"),
        ("name: shop", "name: shop\nfeatures:\n  cart: x\n  pay: {events: y, prerequisite: card}",
         "shop.yml:4: features.pay.prerequisite: unknown feature `card`; did you mean `cart`?"),
        ("account_id: company", "account_id: &a company", "shop.yml:4: anchors and aliases are refused"),
    ],
)  # fmt: skip
def test_a_slip_is_told_with_file_line_and_what_was_expected(tmp_path, raw, old, new, message):
    assert message in refused(tmp_path, MAPPING.replace(old, new), raw)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("log.csv", "lok.csv",
         "shop.yml:3: events.files: no file lok.csv in the raw folder; did you mean `log.csv`?"),
        ("account_id: company", "account_id: Company",
         "shop.yml:4: events.account_id: no column `Company` in log.csv; did you mean `company`?"),
        ("[area, action]", "[area, deed]", "shop.yml:6: events.event_name: no column `deed` in log.csv; expected one"),
        ("user_id: user", "user_id: {first_of: [uid, visitor]}", "shop.yml:5: events.user_id: no column `uid`"),
        ("user_id: user", "properties: [plan->x]", "shop.yml:5: events.properties: no column `plan`"),
        ("user_id: user",
         "user_id: {column: user, lookup: {files: users.csv, key: id, gives: name}}",
         "shop.yml:5: events.user_id.lookup.files: no file users.csv in the raw folder"),
        ("user_id: user",
         "user_id: {column: user, lookup: {files: log.csv, key: id, gives: area}}",
         "shop.yml:5: events.user_id.lookup.key: no column `id` in log.csv"),
        ("name: shop", "name: shop\naccounts: {files: accounts.csv, account_id: id}",
         "shop.yml:2: accounts.files: no file accounts.csv"),
    ],
)  # fmt: skip
def test_what_the_raw_folder_lacks_is_told_at_the_line_that_wants_it(tmp_path, raw, old, new, message):
    assert refused(tmp_path, MAPPING.replace(old, new), raw).startswith(message)


def test_what_is_called_optional_may_be_absent(tmp_path, raw):
    text = MAPPING.replace("user_id: user", "user_id: {column: uid, optional: true}")
    text += "accounts: {files: accounts.csv, optional: true, account_id: id}\n"
    (tmp_path / "shop.yml").write_text(text)
    assert read_mapping(tmp_path / "shop.yml").resolved(raw)["inputs"]["accounts"]["files"] == ["accounts.csv"]


def test_only_one_lookup_is_allowed(tmp_path, raw):
    lookup = "lookup: {files: log.csv, key: user, gives: area}"
    text = MAPPING.replace("user_id: user", "user_id: {column: user, " + lookup + "}")
    text = text.replace("account_id: company", "account_id: {column: company, " + lookup + "}")
    assert "found lookups in account_id and user_id; expected at most one" in refused(tmp_path, text, raw)


def test_a_lookup_that_changes_changes_what_is_compiled(tmp_path, raw):
    (raw / "users.csv").write_text("id,name\nada,Ada\n")
    lookup = "user_id: {column: user, lookup: {files: users.csv, key: id, gives: name}}"
    (tmp_path / "shop.yml").write_text(MAPPING.replace("user_id: user", lookup))
    before = read_mapping(tmp_path / "shop.yml").resolved(raw)["lookup"]
    (raw / "users.csv").write_text("id,name\nada,Eve\n")
    after = read_mapping(tmp_path / "shop.yml").resolved(raw)["lookup"]
    assert before["field"] == after["field"] == "user_id"
    assert before["content"] != after["content"]


def test_every_shipped_mapping_names_itself_and_passes_the_schema_for_editors(root):
    folder = root / "dbt_project/mappings"
    assert (folder / "schema.json").read_text() == schema(), (
        "python -m uptake.adapters.source_mapping dbt_project/mappings"
    )
    validator = jsonschema.Draft202012Validator(json.loads(schema()))
    paths = sorted(folder.glob("*.yml"))
    assert [path.stem for path in paths] == [
        "amplitude", "mixpanel", "moodle", "pendo", "ravenstack", "retentioneering", "sparkify",
    ]  # fmt: skip
    for path in paths:
        assert path.read_text().startswith("# yaml-language-server: $schema=schema.json\n")
        validator.validate(YAML(typ="safe").load(path))
        assert read_mapping(path).name == path.stem
    assert not validator.is_valid({"name": "x", "events": {"files": "x"}})
