from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uptake.domain.erasure import Subject, mentions, redacted

ANN = Subject(address="Ann.Lee@customer.example", names=("Ann", "Ann Lee"), token="erased-1")

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ({"email": "ann.lee@CUSTOMER.example", "name": "Ann Lee"}, {"email": None, "name": "erased"}),
        ({"user_id": "ann.lee@customer.example", "n": 1}, {"user_id": "erased-1", "n": 1}),
        (
            {"traits": [{"to": "see ann.lee@customer.example!"}], "first": " ann "},
            {"traits": [{"to": "see erased-1!"}], "first": "erased"},
        ),
        ({"url": "https://x.example/?m=ann.lee%40customer.example"}, {"url": "https://x.example/?m=erased-1"}),
        ({"ann.lee@customer.example": True}, {"erased-1": True}),
        ({"note": "Annual, of Ann", "mail": "ann.lee@customer.example"}, {"note": "Annual, of Ann", "mail": None}),
    ],
)  # fmt: skip
def test_json_loses_the_person_and_stays_json(line: object, expected: object) -> None:
    assert json.loads(redacted(json.dumps(line), ANN)) == expected


def test_an_escaped_address_is_one_too() -> None:
    assert redacted('{"email":"ann.lee\\u0040customer.example"}', ANN) == '{"email":null}'


@pytest.mark.parametrize(
    "written", ["ann+new%40x.example", "Ann%2Bnew%40x.example", "ann%2bnew@x.example", "ann+new\\u0040x.example"]
)
def test_however_a_link_or_a_form_writes_it(written: str) -> None:
    ann = Subject(address="Ann+new@x.example", names=(), token="erased-1")
    assert redacted(f"GET /u?to={written}&x=1", ann) == "GET /u?to=erased-1&x=1"
    umlaut = Subject(address="jürgen.o'neill@x.example", names=(), token="erased-2")
    for escaped in (
        "j\\u00fcrgen.o'neill@x.example",
        "j%C3%BCrgen.o%27neill%40x.example",
        "jürgen.o&#x27;neill@x.example",
    ):
        assert redacted(f"<{escaped}>", umlaut) == "<erased-2>"


def test_other_texts_lose_address_and_names_of_the_same_line() -> None:
    assert redacted("7,Ann Lee,ann.lee@customer.example,Annex", ANN) == "7,erased,erased-1,Annex"


@pytest.mark.parametrize(
    "line", ['{"name": "Ann Lee"}', "Ann Lee, somebody else", '{"email": "bob@customer.example"}', ""]
)
def test_a_line_without_the_address_stays_as_it_is(line: str) -> None:
    assert redacted(line, ANN) == line


def test_the_subject_is_never_shown() -> None:
    assert "customer" not in repr(ANN)
    assert "Ann" not in repr(ANN)


@given(JSON, st.sampled_from(["", "x ", "1"]), TEXT)
def test_nothing_is_left_and_the_rest_stays(document: object, before: str, key: str) -> None:
    line = json.dumps({"who": f"{before}{ANN.address.upper()}", key or "k": document})
    found = redacted(line, ANN)
    assert not mentions(found, ANN.address)
    assert redacted(found, ANN) == found
    if (
        not mentions(json.dumps({key: document}), ANN.address)
        and key != "who"
        and str(document) not in ("Ann", "Ann Lee")
    ):
        assert json.loads(found)[key or "k"] is not None or document is None


@given(TEXT, TEXT)
def test_no_text_keeps_the_address(before: str, after: str) -> None:
    assert not mentions(redacted(f"{before}{ANN.address}{after}", ANN), ANN.address)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (rb'{"email":"ann@x.example","reason":"half \ud83d"}', rb'{"email":null,"reason":"half \ud83d"}'),
        (b'{"email":"ann@x.example","reason":"\xc3\xa9\xff"}', b'{"email":null,"reason":"\xc3\xa9\xff"}'),
    ],
)
def test_whatever_stands_beside_an_address_can_be_written_again(line, expected):
    """Else one odd event would hold up all that its body tells, and `forget` itself."""
    subject = Subject(address="ann@x.example", names=(), token="erased-1")
    text = redacted(line.decode("utf-8", "surrogateescape"), subject)
    assert text.encode("utf-8", "surrogateescape") == expected
