from pathlib import Path

import pytest

from uptake.bootstrap import open_uptake
from uptake.doctor import Finding
from uptake.sandbox.files import write_json
from uptake.sandbox.ports import marker_path

PRIVATE = "SG.a-key-that-nobody-may-read"


def looked(home: Path, **settings: object) -> dict[str, Finding]:
    uptake = open_uptake(home=home, **settings)
    try:
        return {one.name: one for one in uptake.doctor()}
    finally:
        uptake.close()


def test_a_new_home_is_told_what_it_lacks_and_what_to_do(tmp_path: Path) -> None:
    found = looked(tmp_path)
    assert found["home"].todo is None or "make room" in found["home"].todo
    assert (found["keys"].found, found["snapshot"].todo) == ("keys.json is missing", "`uptake refresh`")
    assert "synchronous FULL" in found["ledger"].found
    assert found["ledger"].todo is None
    assert "SENDGRID_API_KEY is not set" in found["mail"].found
    assert {name for name, one in found.items() if one.todo} >= {"keys", "snapshot", "mail", "webhook", "ticks"}


def test_keys_that_others_may_read_and_a_mail_service_out_of_reach_are_told(tmp_path: Path) -> None:
    looked(tmp_path)  # opening the ledger made the keys
    (tmp_path / "keys.json").chmod(0o644)
    found = looked(tmp_path, sendgrid_base_url="http://127.0.0.1:9", sendgrid_api_key=PRIVATE)
    assert (found["keys"].todo or "").startswith("chmod 600")
    assert "not reached (ConnectError)" in found["mail"].found
    assert PRIVATE not in repr(found)


@pytest.mark.parametrize("is_demo", [True, False])
def test_the_home_of_a_demo_is_a_sandbox_without_being_told(tmp_path: Path, *, is_demo: bool) -> None:
    if is_demo:
        write_json(marker_path(tmp_path), {})
    uptake = open_uptake(home=tmp_path)
    assert uptake.settings.sandbox is is_demo
    assert open_uptake(home=tmp_path, sandbox=False).settings.sandbox is False
