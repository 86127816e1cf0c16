"""The statements of a tick stay fit for large sets: nothing compares every row with every other."""

import re
from datetime import UTC, datetime

import duckdb
import pytest

from uptake.adapters.journeys import side, verdicts
from uptake.ports import ControlState

_TABLES = """
create table account_features (account_id varchar, feature_key varchar, adoption_state varchar);
create table contact_features (contact_id varchar, feature_key varchar, adoption_state varchar);
create table due (
    enrollment_id bigint, contact_id varchar, account_id varchar, playbook varchar, version_id bigint,
    feature_key varchar, is_task boolean, due_at timestamp, wait_for interval, goal_feature varchar,
    goal_by_account boolean, goal_is_adopted boolean
);
create table whens (enrollment_id bigint, contact_id varchar, condition varchar, holds boolean);
create table waits as from whens;
create table opens (version_id bigint, contact_id varchar, opens_at timestamp, closes_at timestamp);
"""


@pytest.fixture
def tick():
    with duckdb.connect() as connection:
        side.lay(connection, {}, {}, ControlState(), datetime(2026, 3, 3, tzinfo=UTC))
        connection.execute(_TABLES)
        yield connection


def test_deciding_stages_compares_them_row_by_row_with_orders_for_everybody_alone(tick):
    query = verdicts.STAGES.split(" as\n", 1)[1]
    plan = tick.execute(f"explain {query}").fetchall()[0][1]
    # Pauses of everything and of all sending: at most one row each.
    assert len(re.findall("BLOCKWISE|NESTED_LOOP|PIECEWISE|IE_JOIN", plan)) == 2
