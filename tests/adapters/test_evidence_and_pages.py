from __future__ import annotations

import random
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from uptake.adapters.evidence_duckdb import DuckEvidence
from uptake.adapters.report_pages import HtmlPages
from uptake.domain.arms import Arm
from uptake.domain.features import AdoptionState
from uptake.domain.lift import Verdict
from uptake.ports import Snapshot, ValueReport
from uptake.testing import write_snapshot

AS_OF = datetime(2026, 4, 16, 6, tzinfo=UTC)
FEATURES = [f"feature_{n}" for n in range(12)]


def outcome(account: int, *, arm: str, closed: bool, reached: bool) -> dict[str, Any]:
    entered = AS_OF.replace(tzinfo=None) - timedelta(days=30 if closed else 3)
    return {
        "enrollment_id": account,
        "playbook": "feature-breadth",
        "account_id": f"acct-{account:03}",
        "entry_no": 1,
        "arm": arm,
        "enrolled_at": entered,
        "window_ends_at": entered + timedelta(days=14),
        "is_window_closed": closed,
        "is_goal_reached": reached,
        "breadth_before": 0.1 + account % 5 / 50,
        "breadth_after": 0.2 + account % 5 / 50,
    }


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """60 accounts, 12 features; half of the treated and a tenth of the held out reached the goal."""
    draw = random.Random(1)
    states = [state.value for state in AdoptionState]
    accounts = [f"acct-{n:03}" for n in range(60)]
    return write_snapshot(
        tmp_path_factory.mktemp("snapshots"),
        as_of=AS_OF,
        marts={
            "dim_features": [
                {"feature_key": key, "name": key.replace("_", " ").title(), "ladder_rank": n}
                for n, key in enumerate(FEATURES)
            ],
            "accounts_current": [
                {
                    "account_id": account,
                    "plan": "team",
                    "churned": n == 58,
                    "is_internal": n == 59,
                    "adoption_breadth": n / 100,
                    "count_features_entitled": 12,
                    "count_features_adopted": n % 12,
                    "health": 0.5,
                    "health_coverage": 0.75,
                }
                for n, account in enumerate(accounts)
            ],
            "contacts_current": [
                {"contact_id": f"{n:032x}", "account_id": accounts[n % 60], "role": "admin", "active_days_28": n % 28}
                for n in range(240)
            ],
            "account_features": [
                {
                    "account_id": account,
                    "feature_key": key,
                    "is_entitled": key != "feature_11",
                    "adoption_state": draw.choices(states, [5, 2, 2, 1])[0],
                }
                for account in accounts
                for key in FEATURES
            ],
            "contact_features": [
                {
                    "contact_id": f"{n:032x}",
                    "account_id": accounts[n % 60],
                    "feature_key": key,
                    "adoption_state": draw.choice(states[1:]),
                }
                for n in range(240)
                for key in FEATURES[::3]
            ],
            "feature_recommendations": [
                {
                    "contact_id": f"{n:032x}",
                    "account_id": accounts[n % 60],
                    "recommendation_rank": 1,
                    "feature_key": FEATURES[n % 2],
                    "reason": "it comes next on the ladder",
                }
                for n in range(240)
            ],
            "fct_outcomes": [
                outcome(n, arm="treatment" if n < 30 else "holdout", closed=True, reached=n < 15 or 30 <= n < 32)
                for n in range(50)
            ]
            + [outcome(50, arm="treatment", closed=False, reached=True)],
        },
    )


def value_report(snapshot: Snapshot) -> ValueReport:
    evidence = DuckEvidence()
    overview = evidence.overview(snapshot)
    return ValueReport(
        overview=overview,
        over_time=[(AS_OF - timedelta(days=days), 0.3 - days / 1000) for days in range(45, 0, -3)],
        outcomes=evidence.outcomes(snapshot, holdouts={"feature-breadth": 0.4}),
        sends={"feature-breadth": {"accepted": 10, "delivered": 300, "bounced": 3}},
        withheld={"feature-breadth": {"gate_held": 120, "suppressed": 4}},
        gate={"status": "passed", "count_checks": 140},
        manifest={"dbt_invocation_id": "an-id", "git_sha": "abc123"},
    )


def test_the_overview_counts_only_who_pays_and_what_is_paid_for(snapshot: Snapshot) -> None:
    overview = DuckEvidence().overview(snapshot)
    assert overview.count_accounts == 58
    assert overview.count_contacts == 58 * 4
    assert overview.count_entitled == 58 * 11
    assert len(overview.breadths) == 58
    assert sum(feature.count_accounts_adopted for feature in overview.features) == overview.count_adopted
    shares = [feature.adopted_share for feature in overview.features]
    assert shares == sorted(shares, reverse=True)


def test_an_outcome_compares_closed_windows_of_accounts(snapshot: Snapshot) -> None:
    (result,) = DuckEvidence().outcomes(snapshot, holdouts={"feature-breadth": 0.4})
    assert result.count_enrolled == {Arm.TREATMENT: 31, Arm.HOLDOUT: 20}
    assert result.count_closed == {Arm.TREATMENT: 30, Arm.HOLDOUT: 20}
    assert result.count_reached == {Arm.TREATMENT: 15, Arm.HOLDOUT: 2}
    assert result.lift is not None
    arm = result.lift.arms[0]
    assert arm.mean - result.lift.control.mean == pytest.approx(arm.lift_abs)
    assert arm.lift_abs == pytest.approx(0.4, abs=0.05)
    assert arm.ci_lower < arm.lift_abs < arm.ci_upper
    assert not result.lift.srm.alarm
    assert result.verdict is Verdict.HELPS or result.verdict is Verdict.TOO_EARLY


def test_who_enters_again_counts_once_by_the_first_entry(tmp_path: Path) -> None:
    """Who answers a mail is not taken in again, and only the treated get mails: later entries are no comparison."""
    first = [
        outcome(n, arm="holdout" if n % 3 == 0 else "treatment", closed=n % 10 > 0, reached=n % 2 == 0)
        for n in range(60)
    ]
    again = [{**row, "entry_no": 2, "is_goal_reached": True} for row in first if row["arm"] == "treatment"]
    results = []
    for name, rows in {"once": first, "twice": first + again}.items():
        marts = {"fct_outcomes": rows}
        one = write_snapshot(tmp_path / name, as_of=AS_OF, marts=marts)
        results.append(DuckEvidence().outcomes(one, holdouts={"feature-breadth": 0.33}))
    assert results[0] == results[1]


def test_the_draw_that_was_meant_decides_about_balance(snapshot: Snapshot) -> None:
    (result,) = DuckEvidence().outcomes(snapshot, holdouts={"feature-breadth": 0.05})
    assert result.verdict is Verdict.INVALID


def test_an_account_has_its_grid(snapshot: Snapshot) -> None:
    page = DuckEvidence().account(snapshot, "acct-007")
    assert page is not None
    assert f"<code>{snapshot.snapshot_id}</code>" in HtmlPages().account(page, playbooks=[])
    assert len(page.features) == 11
    assert [contact.active_days_28 for contact in page.contacts] == sorted(
        (n % 28 for n in range(7, 240, 60)), reverse=True
    )
    assert page.next_steps[0][2] == 4
    assert DuckEvidence().account(snapshot, "nobody") is None


class Outline(HTMLParser):
    """What a page fetches or runs."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "action")]


def test_reports_are_single_files_that_fetch_and_run_nothing(snapshot: Snapshot) -> None:
    pages = HtmlPages()
    account = DuckEvidence().account(snapshot, "acct-007")
    assert account is not None
    for html in (
        pages.leadership(value_report(snapshot), account_link="account.html"),
        pages.account(account, playbooks=["feature-breadth"]),
    ):
        outline = Outline()
        outline.feed(html)
        assert not {"script", "iframe", "link", "img"} & set(outline.tags)
        assert set(outline.addresses) <= {"account.html"} | {a for a in outline.addresses if a.startswith("#")}
        assert not re.search(r"url\(\s*['\"]?https?:", html)


def test_the_same_report_has_the_same_bytes(snapshot: Snapshot) -> None:
    report = value_report(snapshot)
    assert HtmlPages().leadership(report, account_link=None) == HtmlPages().leadership(report, account_link=None)


def test_nothing_proved_is_said_so(snapshot: Snapshot) -> None:
    report = value_report(snapshot)
    unproved = replace(report.outcomes[0], verdict=Verdict.NOT_YET_PROVED)
    html = HtmlPages().leadership(replace(report, outcomes=[unproved]), account_link=None)
    assert "Not yet proved: the interval does not exclude chance." in html
    empty = HtmlPages().leadership(replace(report, outcomes=[], sends={}, withheld={}), account_link=None)
    assert "Nothing is claimed." in empty


def test_customer_data_is_never_markup(snapshot: Snapshot) -> None:
    account = DuckEvidence().account(snapshot, "acct-007")
    assert account is not None
    html = HtmlPages().account(replace(account, account_id="<script>alert(1)</script>"), playbooks=["{{ 7*7 }}"])
    assert "<script>" not in html
    assert "{{ 7*7 }}" in html


def test_pages_for_a_look(snapshot: Snapshot, tmp_path: Path) -> None:
    account = DuckEvidence().account(snapshot, DuckEvidence().telling_account(snapshot) or "")
    assert account is not None
    (tmp_path / "l.html").write_text(HtmlPages().leadership(value_report(snapshot), account_link="a.html"))
    (tmp_path / "a.html").write_text(HtmlPages().account(account, playbooks=[]))
    assert (tmp_path / "l.html").stat().st_size < 1_000_000
