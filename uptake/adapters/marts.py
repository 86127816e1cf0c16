"""The marts as Python reads them: every column named and typed, the same as the contracts in `dbt_project`."""

from __future__ import annotations

import pyarrow as pa

_TEXT, _INT, _FLOAT, _BOOL = pa.string(), pa.int64(), pa.float64(), pa.bool_()
_AT, _ON = pa.timestamp("us"), pa.date32()  # naive UTC; calendar day


def _schema(**columns: pa.DataType) -> pa.Schema:
    return pa.schema(list(columns.items()))


MARTS: dict[str, pa.Schema] = {
    "dim_accounts": _schema(
        account_id=_TEXT, plan=_TEXT, region=_TEXT, time_zone=_TEXT, locale=_TEXT, created_at=_AT, arr=_FLOAT,
        currency=_TEXT, seats=_INT, renewal_on=_ON, churned=_BOOL, churned_on=_ON, is_internal=_BOOL, csm=_TEXT,
    ),
    "dim_contacts": _schema(
        contact_id=_TEXT, account_id=_TEXT, role=_TEXT, time_zone=_TEXT, locale=_TEXT, created_at=_AT,
    ),
    "dim_features": _schema(
        feature_key=_TEXT, name=_TEXT, weight=_FLOAT, minutes_saved_per_use=_FLOAT, guide_url=_TEXT,
        ladder_rank=_INT, adopted_days=_INT, prerequisite=_TEXT,
    ),
    "fct_account_feature_daily": _schema(
        account_id=_TEXT, feature_key=_TEXT, date_day=_ON, count_events=_INT, count_contacts=_INT,
        sum_quantity=_FLOAT,
    ),
    "account_features": _schema(
        account_id=_TEXT, feature_key=_TEXT, is_entitled=_BOOL, adoption_state=_TEXT, days_used_28=_INT,
        days_used_prev_28=_INT, count_contacts_28=_INT, first_used_on=_ON, last_used_on=_ON, first_adopted_on=_ON,
    ),
    "contact_features": _schema(
        contact_id=_TEXT, account_id=_TEXT, feature_key=_TEXT, adoption_state=_TEXT, days_used_28=_INT,
        first_used_on=_ON, last_used_on=_ON, first_adopted_on=_ON,
    ),
    "accounts_current": _schema(
        account_id=_TEXT, plan=_TEXT, region=_TEXT, arr=_FLOAT, currency=_TEXT, seats=_INT, csm=_TEXT,
        age_days=_INT, renewal_on=_ON, days_to_renewal=_INT, churned=_BOOL, is_internal=_BOOL,
        count_open_tickets=_INT, count_contacts=_INT, count_active_contacts_28=_INT, seats_used_share=_FLOAT,
        count_features_entitled=_INT, count_features_adopted=_INT, adoption_breadth=_FLOAT, adoption_depth=_FLOAT,
        stickiness=_FLOAT, usage_trend=_FLOAT, days_since_last_use=_INT, health=_FLOAT, health_coverage=_FLOAT,
        health_drivers=_TEXT, health_band=_TEXT, seats_band=_TEXT, first_used_on=_ON, last_used_on=_ON,
        contract_started_on=_ON, time_to_value_days=_INT, active_days_28=_INT, count_uses_28=_INT,
        count_features_used_28=_INT, count_power_users=_INT, top_user_share=_FLOAT, count_friction_28=_INT,
        count_sign_in_failures_28=_INT, count_errors_28=_INT, count_unsupported_browsers_28=_INT,
        count_blocked_requests_28=_INT, count_friction_contacts_28=_INT, count_active_contacts_7=_INT,
        weekly_stickiness=_FLOAT, median_weekly_uses=_FLOAT,
    ),
    "contacts_current": _schema(
        contact_id=_TEXT, account_id=_TEXT, role=_TEXT, time_zone=_TEXT, locale=_TEXT, age_days=_INT,
        active_days_28=_INT, count_features_used_28=_INT, count_features_adopted=_INT, days_since_last_use=_INT,
        active_days_prev_28=_INT, count_uses_28=_INT, is_power_user=_BOOL, count_friction_28=_INT,
        count_sign_in_failures_28=_INT, count_errors_28=_INT, count_unsupported_browsers_28=_INT,
        count_blocked_requests_28=_INT,
    ),
    "feature_recommendations": _schema(
        contact_id=_TEXT, account_id=_TEXT, recommendation_rank=_INT, feature_key=_TEXT, reason=_TEXT,
        chosen_by=_TEXT,
    ),
    "feature_reach": _schema(
        feature_key=_TEXT, count_accounts_entitled=_INT, count_accounts_used_28=_INT, count_accounts_adopted=_INT,
        account_reach=_FLOAT, account_adoption=_FLOAT, count_contacts_entitled_28=_INT, count_contacts_used_28=_INT,
        contact_reach=_FLOAT, count_uses_28=_INT, use_share_28=_FLOAT, median_weekly_uses=_FLOAT,
    ),
    "fct_account_health_weekly": _schema(
        account_id=_TEXT, week_ends_on=_ON, plan=_TEXT, seats=_INT, age_days=_INT, count_features_entitled=_INT,
        count_features_adopted=_INT, adoption_breadth=_FLOAT, count_active_contacts_28=_INT, seats_used_share=_FLOAT,
        usage_trend=_FLOAT, health=_FLOAT, health_coverage=_FLOAT, health_band=_TEXT,
    ),
    "fct_outcomes": _schema(
        enrollment_id=_INT, playbook=_TEXT, account_id=_TEXT, entry_no=_INT, arm=_TEXT, stratum=_TEXT,
        enrolled_at=_AT, window_ends_at=_AT, is_window_closed=_BOOL, is_goal_reached=_BOOL, goal_reached_on=_ON,
        breadth_before=_FLOAT, breadth_after=_FLOAT, count_contacts=_INT, count_sends_accepted=_INT,
    ),
}  # fmt: skip

#: Stored as one file a month, so that a year of daily snapshots shares what did not change.
PARTITIONED = frozenset({"fct_account_feature_daily"})

#: What stands before the dot in a condition -> the mart whose columns may follow it.
CONDITION_MARTS = {
    "account": "accounts_current",
    "contact": "contacts_current",
    "feature": "contact_features",
    "account_feature": "account_features",
}
