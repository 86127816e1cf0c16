"""T17: bent playbooks, conditions, log lines, webhook bodies, tokens and the like. `make soak` bends a million."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest

from tests.crash.fuzz import OF_A_THOUSAND, Fuzz
from uptake.adapters.tokens import Claim

THOUSANDS = 2
ANYBODY = Claim(contact_id="anybody", topic="training", feature_key="boards")


@pytest.fixture(scope="module")
def fuzz(tmp_path_factory: pytest.TempPathFactory, shared_data: Path):
    fuzz = Fuzz(tmp_path_factory.mktemp("fuzz"), shared_data)
    yield fuzz
    fuzz.close()


def test_whatever_comes_in_is_taken_or_refused_in_our_words(fuzz):
    found = fuzz.run(1, {kind: THOUSANDS * count for kind, count in OF_A_THOUSAND.items()})
    assert found.losses == []
    for kind in (
        "playbook",
        "mapping",
        "condition",
        "token",
        "webhook",
    ):  # what refuses everything proves nothing
        ends = {end: count for end, count in found.ended.items() if end.startswith(kind)}
        assert len(ends) > 1, ends
        assert max(ends.values()) < 0.95 * sum(ends.values()), ends


@pytest.mark.parametrize(
    ("broken", "by", "kind", "found"),
    [
        ("uptake.adapters.sendgrid_events._moment", float, "webhooks", "Error"),
        ("uptake.adapters.tokens.Tokens.read", lambda _self, _token: ANYBODY, "tokens", "nobody signed"),
    ],
    ids=["a moment that is none", "tokens are not looked at"],
)  # fmt: skip
def test_a_fault_of_the_product_is_seen(fuzz, broken, by, kind, found):
    with mock.patch(broken, by):
        losses = fuzz.run(2, {kind: 50}).losses
    assert any(found in loss for loss in losses)


def test_what_takes_for_ever_is_stopped(fuzz):
    def forever(_text: str) -> None:
        while True:
            pass

    with mock.patch("uptake.domain.conditions.parser._check_characters", forever):
        found = fuzz.run(1, {"conditions_of_authors": 1})
    assert "TookTooLong" in found.losses[0]
