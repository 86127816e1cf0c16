"""Whatever a text can say, the columns it says it with are read."""

import pytest

from tests.adapters.test_merge_fields_duckdb import RELEASE
from uptake.adapters.text_columns import columns_of

WHY = {"name", "adoption_state"}  # of `feature`: the line that says why somebody gets a mail names them


def columns(body, *, subject="s", words=None):
    text = RELEASE.texts["why"].model_copy(update={"subject": subject, "body": body})
    return columns_of(RELEASE.model_copy(update={"texts": {"why": text}, "words": words or {}}), "why")


def test_every_part_of_a_stage_counts():
    text = RELEASE.texts["why"].model_copy(
        update={"subject": "{{ account.plan }}", "preheader": "{{ account.arr }}", "body": "{{ account.seats }}"}
    )
    release = RELEASE.model_copy(update={"texts": {"why": text}, "words": {"why": "{{ account.account_id }}"}})
    assert columns_of(release, "why") == {
        "account": {"plan", "arr", "seats", "account_id"}, "contact": set(), "feature": WHY, "account_feature": set(),
        "sender": set(),
    }  # fmt: skip


@pytest.mark.parametrize(
    "said",
    [
        "{{ account.plan }}",
        "{{ account['plan'] }}",
        "{{ (account.plan)|upper|default('a') }}",
        "{% if account.plan is none %}a{% endif %}",
        "{% for letter in account.plan %}{{ letter }}{% endfor %}",
        "{{ [1, account.plan] }} and [a link](https://docs.acme.example/{{ account.plan }})",
        "{{ 'a' if account.plan else 'b' }}",
        "{{ account.plan.x }}",
    ],
)
def test_a_column_counts_wherever_it_is_named(said):
    assert columns(said)["account"] == {"plan"}


@pytest.mark.parametrize(
    "said",
    [
        "{{ account }}",
        "{{ account[contact.role] }}",
        "{{ account|length }}",
        "{% for column in account %}{{ account[column] }}{% endfor %}",
        "{{ [account][0].plan }}",
        "{{ (account if contact.role else sender).plan }}",
    ],
)
def test_a_row_that_is_taken_as_a_whole_is_read_whole(said):
    assert columns(said)["account"] is None


def test_of_a_text_that_cannot_be_read_everything_is():
    assert set(columns("{{ account.plan").values()) == {None}
