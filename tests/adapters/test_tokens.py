from __future__ import annotations

import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import URLSafeSerializer

from uptake.adapters.tokens import Claim, RecipientLinks, Tokens

OLD, NEW, OTHER = b"o" * 32, b"n" * 32, b"x" * 32
CLAIM = Claim(contact_id="c1", topic="training", feature_key="dashboards")


@given(st.text(max_size=40), st.text(max_size=20), st.text(max_size=20))
def test_a_token_says_what_was_signed(contact_id, topic, feature_key):
    claim = Claim(contact_id=contact_id, topic=topic, feature_key=feature_key)
    assert Tokens([NEW]).read(Tokens([NEW]).sign(claim)) == claim


@given(st.from_regex(r"[0-9a-f]{32}", fullmatch=True), st.from_regex(r"[a-z-]{3,12}", fullmatch=True))
def test_a_token_is_what_the_library_makes(contact_id, topic):
    claim = Claim(contact_id=contact_id, topic=topic, feature_key="boards")
    library = URLSafeSerializer(
        [OLD, NEW], salt="uptake-recipient", signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256}
    )
    said = [contact_id, topic, "boards"]
    token = Tokens([NEW, OLD]).sign(claim)
    assert library.loads(token) == said
    if not library.dumps(said).startswith("."):  # what is compressed there is not here, and is read all the same
        assert token == library.dumps(said)


def test_a_rotation_keeps_every_old_link_alive():
    token = Tokens([OLD]).sign(CLAIM)
    assert Tokens([NEW, OLD]).read(token) == CLAIM
    assert Tokens([NEW]).read(token) is None


def test_new_tokens_are_signed_with_the_newest_key():
    assert Tokens([NEW]).read(Tokens([NEW, OLD]).sign(CLAIM)) == CLAIM


def test_another_key_opens_nothing():
    assert Tokens([OTHER]).read(Tokens([NEW]).sign(CLAIM)) is None


@given(st.data())
def test_a_token_with_one_character_changed_says_nothing_else(data):
    token = Tokens([NEW]).sign(CLAIM)
    position = data.draw(st.integers(0, len(token) - 1))
    character = data.draw(st.sampled_from("abcXYZ019-_."))
    changed = token[:position] + character + token[position + 1 :]
    # The last character of base64 carries bits that mean nothing: the claim can only be the same.
    assert Tokens([NEW]).read(changed) in ({None, CLAIM} if changed != token else {CLAIM})


@given(st.text(max_size=200))
def test_what_we_did_not_sign_is_no_token(token):
    assert Tokens([NEW]).read(token) is None


@pytest.mark.parametrize("base", ["https://mail.acme.example", "https://mail.acme.example/"])
def test_a_link_fits_into_a_header_and_a_path(base):
    url = RecipientLinks(Tokens([NEW]), base).unsubscribe_url(
        contact_id="f" * 32, topic="product-training", feature_key="dashboards"
    )
    assert re.fullmatch(r"https://mail\.acme\.example/u/[A-Za-z0-9_.-]+", url)
    assert len(url) < 250
    assert "f" * 8 not in url.rsplit("/", 1)[0]
