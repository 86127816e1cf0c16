"""Which definition stood behind a goal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest

from uptake.adapters.goal_hashes import goal_hashes

FEATURES = "source,feature_key,name,event_patterns\nuptake,api,API,api.*\nuptake,sso,SSO,sso.*\nsegment,api,API,Api\n"
FRICTION = "source,event_pattern,kind\nuptake,login.failed,sign_in\nsegment,Login Failed,sign_in\n"


@pytest.fixture
def hashes(tmp_path: Path) -> Any:
    """Hash two features behind a feature and a friction catalogue."""

    def of(features: str = FEATURES, friction: str = FRICTION) -> dict[str, Any]:
        paths = [tmp_path / "features.csv", tmp_path / "friction.csv"]
        for path, text in zip(paths, (features, friction), strict=True):
            path.write_text(text)
        with duckdb.connect() as warehouse:
            warehouse.execute("create schema marts")
            warehouse.execute(
                "create table marts.dim_features as select unnest(['api', 'sso']) as feature_key, 3 as adopted_days"
            )
            return goal_hashes(warehouse, paths, "uptake")

    return of


def changed(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    return {key for key, one in after["goal_hashes"].items() if one != before["goal_hashes"][key]}


def test_a_pattern_changes_its_own_feature_only(hashes: Any) -> None:
    after = hashes(features=FEATURES.replace("api.*", "api.called"))
    assert changed(hashes(), after) == {"api"}
    assert after["goal_hash"] != hashes()["goal_hash"]


def test_what_becomes_friction_is_nobodys_use_any_more_and_changes_every_feature(hashes: Any) -> None:
    after = hashes(friction=f"{FRICTION}uptake,api.*,error\n")
    assert changed(hashes(), after) == {"api", "sso"}


def test_names_and_other_sources_change_nothing(hashes: Any) -> None:
    features = FEATURES.replace("uptake,sso,SSO", "uptake,sso,Single sign-on").replace(
        "segment,api,API,Api", "segment,api,API,X"
    )
    assert hashes(features, FRICTION.replace("Login Failed", "Sign-in Failed")) == hashes()
