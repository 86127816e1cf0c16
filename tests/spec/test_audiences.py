# ruff: noqa: E501 - a table is read by its columns
"""Who is in an audience: the language by example, and the playbooks we ship."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from uptake.adapters.playbook_files import PlaybookFiles

Matching = Callable[[str, str], list[str]]

ACCOUNTS = """
| id | account.plan | account.arr | account.seats | account.adoption_breadth | account.churned | account.renewal_on | account.age_days |
| a1 | starter      | 2000        | 5             | 0.90                     | no              | 2026-03-10         | 400              |
| a2 | team         | 20000       | 40            | 0.20                     | no              | 2026-05-30         | 90               |
| a3 | business     | 64000.5     | 200           | 0.35                     | yes             | 2026-03-03         | 13               |
| a4 | enterprise   | -           | 0             | -                        | no              | -                  | -                |
| a5 | -            | -           | -             | 0.20                     | -               | 2026-03-31         | 14               |
"""


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("True", "a1 a2 a3 a4 a5"),
        ("account.plan == 'team'", "a2"),
        ("account.plan != 'team'", "a1 a3 a4"),
        ("account.plan == 'Team'", ""),
        ("account.plan in ['team', 'business']", "a2 a3"),
        ("account.plan not in ['team', 'business']", "a1 a4"),
        ("account.plan not in ['team', None]", ""),
        ("account.plan is None", "a5"),
        ("account.plan is not None", "a1 a2 a3 a4"),
        ("account.arr >= 20000", "a2 a3"),
        ("not account.arr >= 20000", "a1"),
        ("2000 <= account.arr < 20000", "a1"),
        ("account.arr / account.seats > 450", "a2"),
        ("account.arr / account.seats is None", "a4 a5"),
        ("account.adoption_breadth < 0.3 and not account.churned", "a2"),
        ("account.adoption_breadth < 0.3 or account.churned", "a2 a3 a5"),
        ("account.churned or account.plan is None", "a3 a5"),
        ("not (account.churned and account.plan == 'business')", "a1 a2 a4"),
        ("account.renewal_on - today <= days(28)", "a1 a3 a5"),
        ("days(0) < account.renewal_on - today <= days(28)", "a1 a5"),
        ("account.renewal_on == today", "a3"),
        ("account.renewal_on - days(7) == today", "a1"),
        ("account.renewal_on >= date('2026-03-31')", "a2 a5"),
        ("account.age_days >= 14", "a1 a2 a5"),
        ("account.plan < 'starter'", "a3 a4"),
        ("account.seats * 2 + 1 == 11", "a1"),
        ("-account.seats < -39", "a2 a3"),
    ],
)
def test_conditions_select_accounts(matching: Matching, condition: str, expected: str) -> None:
    assert matching(condition, ACCOUNTS) == expected.split()


def where(root: Path, playbook: str) -> str:
    files = PlaybookFiles(root / "playbooks", catalogue=root / "dbt_project" / "seeds" / "feature_catalog.csv")
    return files.release(playbook).playbook.audience.where


FEATURE_BREADTH = """
| id            | account.adoption_breadth | account.days_since_last_use | contact.days_since_last_use | feature.adoption_state | account_feature.is_entitled | account_feature.adoption_state |
| learns        | 0.2                      | 1                           | 3                           | never                  | yes                         | never                          |
| tried         | 0.49                     | 14                          | 28                          | tried                  | yes                         | tried                          |
| relapsed      | 0.2                      | 1                           | 3                           | lapsed                 | yes                         | lapsed                         |
| broad         | 0.5                      | 1                           | 3                           | never                  | yes                         | never                          |
| unknown       | -                        | 1                           | 3                           | never                  | yes                         | never                          |
| quiet_account | 0.2                      | 15                          | 3                           | never                  | yes                         | never                          |
| gone_contact  | 0.2                      | 1                           | 29                          | never                  | yes                         | never                          |
| never_seen    | 0.2                      | 1                           | -                           | never                  | yes                         | never                          |
| knows_it      | 0.2                      | 1                           | 3                           | adopted                | yes                         | tried                          |
| colleagues_do | 0.2                      | 1                           | 3                           | never                  | yes                         | adopted                        |
| not_in_plan   | 0.2                      | 1                           | 3                           | never                  | no                          | never                          |
"""


def test_feature_breadth_takes_active_people_of_narrow_accounts(matching: Matching, root: Path) -> None:
    assert matching(where(root, "feature-breadth"), FEATURE_BREADTH) == ["learns", "tried", "relapsed"]


SCHEDULED_REPORTS = """
| id            | account.plan | account_feature.is_entitled | account_feature.adoption_state | contact.active_days_28 | feature.adoption_state |
| never         | team         | yes                         | never                          | 4                      | never                  |
| lapsed        | enterprise   | yes                         | lapsed                         | 20                     | lapsed                 |
| starter       | starter      | no                          | never                          | 20                     | never                  |
| rare          | team         | yes                         | never                          | 3                      | never                  |
| colleagues_do | team         | yes                         | adopted                        | 20                     | never                  |
| plan_unknown  | -            | yes                         | never                          | 20                     | never                  |
"""


def test_scheduled_reports_takes_regulars_who_do_not_schedule(matching: Matching, root: Path) -> None:
    assert matching(where(root, "scheduled-reports"), SCHEDULED_REPORTS) == ["never", "lapsed"]


GITHUB = """
| id       | account.plan | account.arr | account.count_active_contacts_28 | contact.count_features_used_28 | feature.adoption_state |
| together | default      | -           | 2                                | 1                              | never                  |
| alone    | default      | -           | 1                                | 1                              | never                  |
| watcher  | default      | -           | 9                                | 0                              | never                  |
| used_it  | default      | -           | 9                                | 3                              | tried                  |
"""


def test_github_needs_neither_plan_nor_price(matching: Matching, root: Path) -> None:
    assert matching(where(root, "github-next-function"), GITHUB) == ["together"]
