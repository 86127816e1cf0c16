"""Ids: the same on every run, and different wherever something differs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uptake.domain.ids import SEPARATOR, address_hash, contact_id, erased_token, keyed_hash, send_id

KEY = b"k" * 32
parts = st.lists(
    st.text(st.characters(exclude_characters=SEPARATOR, exclude_categories=["Cs"])), min_size=1, max_size=4
)


def test_a_contact_id_is_what_openssl_says() -> None:
    assert contact_id(KEY, account_id="acc-1", user_id="u-1") == "793790f36166ff34bdffb245b48c824d"


@given(parts, parts)
def test_other_parts_make_another_id(one: list[str], other: list[str]) -> None:
    assert (keyed_hash(KEY, *one) == keyed_hash(KEY, *other)) == (one == other)


def test_another_key_makes_another_id() -> None:
    assert keyed_hash(KEY, "a") != keyed_hash(b"other", "a")


def test_an_id_is_32_hex_digits() -> None:
    assert len(keyed_hash(KEY, "Ünïcode", "😀")) == 32
    assert int(keyed_hash(KEY, ""), 16) >= 0


def test_the_same_text_as_contact_send_or_address_is_another_id() -> None:
    made = {
        contact_id(KEY, account_id="a", user_id="b"),
        contact_id(KEY, account_id="b", user_id="a"),
        keyed_hash(KEY, "a", "b"),
        address_hash(KEY, "a"),
        *(
            send_id(KEY, playbook=p, account_id="a", entry_no=n, stage_key=s, contact_id=c)
            for p in ("p", "q")
            for n in (1, 2)
            for s in ("why", "how")
            for c in ("c", "d")
        ),
    }
    assert len(made) == 20


@pytest.mark.parametrize("written", ["Ana@Example.com", " ana@example.com", "ana@example.com\n"])
def test_an_address_is_the_same_however_it_is_written(written: str) -> None:
    assert address_hash(KEY, written) == address_hash(KEY, "ana@example.com")


def test_the_token_of_a_forgotten_address_is_the_same_everywhere_and_no_address():
    hashed = address_hash(b"k" * 32, "ann@customer.example")
    assert erased_token(hashed) == erased_token(address_hash(b"k" * 32, " ANN@customer.example"))
    assert erased_token(hashed) == f"erased-{hashed[:16]}"
    assert "@" not in erased_token(hashed)
