from __future__ import annotations

from datetime import UTC, datetime

from uptake.domain.accounts import BaseOverview


def overview(*, entitled: int, adopted: int) -> BaseOverview:
    return BaseOverview(
        snapshot_id="s",
        as_of=datetime(2026, 3, 1, tzinfo=UTC),
        source="uptake",
        count_accounts=1,
        count_contacts=1,
        count_entitled=entitled,
        count_adopted=adopted,
        count_used_ever=adopted,
        breadths=(),
        features=(),
    )


def test_the_share_in_use_is_adopted_of_paid_for() -> None:
    assert overview(entitled=8, adopted=2).in_use_share == 0.25


def test_where_nothing_is_paid_for_there_is_no_share() -> None:
    assert overview(entitled=0, adopted=0).in_use_share is None
