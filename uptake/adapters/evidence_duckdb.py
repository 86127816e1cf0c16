"""What a snapshot proves: overview, use over time, outcomes and one account, read with DuckDB."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import duckdb

from uptake.adapters.lift_tea_tasting import estimate
from uptake.adapters.snapshots_duckdb import open_marts
from uptake.domain.accounts import AccountPage, BaseOverview, ContactRow
from uptake.domain.arms import Arm
from uptake.domain.features import AdoptionState, FeatureUse
from uptake.domain.lift import Lift, Verdict, verdict
from uptake.domain.outcomes import PlaybookOutcome
from uptake.ports import Snapshot

_SHOWN_CONTACTS = 40

# Churned and internal accounts pay for nothing that could still be learned. Each account counts once, by its first
# entry: it was drawn once, and who enters again depends on what the mails of the first time brought.
_VIEWS = """
create temp view base as
select * from accounts_current where churned is not true and is_internal is not true;

create temp view first_entries as
select * from fct_outcomes where entry_no = 1;
"""


class DuckEvidence:
    """Reads snapshots; implements `ports.Evidence`."""

    def __init__(self, opener: Callable[[Snapshot], duckdb.DuckDBPyConnection] = open_marts) -> None:
        self._open = opener

    def _marts(self, snapshot: Snapshot) -> duckdb.DuckDBPyConnection:
        marts = self._open(snapshot)
        marts.execute(_VIEWS)
        return marts

    def overview(self, snapshot: Snapshot) -> BaseOverview:
        """Return the whole base of one snapshot."""
        with self._marts(snapshot) as marts:
            accounts, contacts = _row(
                marts,
                """
                select (select count(*) from base),
                       (select count(*) from contacts_current join base using (account_id))
                """,
            )
            entitled, adopted, used = _row(
                marts,
                """
                select count(*), count(*) filter (adoption_state = 'adopted'),
                       count(*) filter (adoption_state <> 'never')
                from account_features join base using (account_id)
                where is_entitled
                """,
            )
            breadths = marts.execute(
                "select adoption_breadth from base where adoption_breadth is not null order by 1"
            ).fetchall()
            features = marts.execute(
                """
                select feature_key, any_value(dim_features.name), count(*),
                       count(*) filter (adoption_state = 'adopted'), count(*) filter (adoption_state = 'tried'),
                       count(*) filter (adoption_state = 'lapsed')
                from account_features
                join base using (account_id)
                join dim_features using (feature_key)
                where is_entitled
                group by feature_key
                order by count(*) filter (adoption_state = 'adopted') / count(*) desc, feature_key
                """
            ).fetchall()
        return BaseOverview(
            snapshot_id=snapshot.snapshot_id,
            as_of=snapshot.as_of,
            source=str(snapshot.manifest.get("source", "")),
            count_accounts=accounts,
            count_contacts=contacts,
            count_entitled=entitled,
            count_adopted=adopted,
            count_used_ever=used,
            breadths=tuple(breadth for (breadth,) in breadths),
            features=tuple(
                FeatureUse(
                    feature_key=key,
                    name=name,
                    count_accounts_entitled=count,
                    count_accounts_adopted=adopted_by,
                    count_accounts_tried=tried_by,
                    count_accounts_lapsed=lapsed_by,
                )
                for key, name, count, adopted_by, tried_by, lapsed_by in features
            ),
        )

    def outcomes(self, snapshot: Snapshot, *, holdouts: Mapping[str, float]) -> list[PlaybookOutcome]:
        """Return every playbook's outcome, by name; `holdouts` = the share each one was drawn with."""
        with self._marts(snapshot) as marts:
            playbooks = [
                name for (name,) in marts.execute("select distinct playbook from fct_outcomes order by 1").fetchall()
            ]
            return [_outcome(marts, playbook, holdouts.get(playbook)) for playbook in playbooks]

    def account(self, snapshot: Snapshot, account_id: str) -> AccountPage | None:
        """Return one account's page; None when the snapshot does not have it."""
        with self._marts(snapshot) as marts:
            facts = _records(marts, "select * from accounts_current where account_id = $1", account_id)
            if not facts:
                return None
            features = _records(
                marts,
                """
                select feature_key, name, adoption_state, last_used_on
                from account_features join dim_features using (feature_key)
                where account_id = $1 and is_entitled
                order by
                    array_position(['adopted', 'lapsed', 'tried', 'never'], adoption_state), ladder_rank, feature_key
                """,
                account_id,
            )
            contacts = _records(
                marts,
                """
                select contact_id, role, active_days_28 from contacts_current where account_id = $1
                order by active_days_28 desc nulls last, contact_id
                """,
                account_id,
            )
            states: dict[str, dict[str, AdoptionState]] = {}
            for row in _records(
                marts,
                "select contact_id, feature_key, adoption_state from contact_features where account_id = $1",
                account_id,
            ):
                states.setdefault(row["contact_id"], {})[row["feature_key"]] = AdoptionState(row["adoption_state"])
            steps = marts.execute(
                """
                select any_value(dim_features.name), any_value(reason), count(*)
                from feature_recommendations join dim_features using (feature_key)
                where account_id = $1 and recommendation_rank = 1
                group by feature_key order by count(*) desc, feature_key limit 3
                """,
                [account_id],
            ).fetchall()
        return AccountPage(
            account_id=account_id,
            snapshot_id=snapshot.snapshot_id,
            as_of=snapshot.as_of,
            facts=facts[0],
            features=tuple(
                (row["feature_key"], row["name"], AdoptionState(row["adoption_state"]), row["last_used_on"])
                for row in features
            ),
            contacts=tuple(
                ContactRow(
                    contact_id=row["contact_id"],
                    role=row["role"],
                    active_days_28=row["active_days_28"],
                    states=states.get(row["contact_id"], {}),
                )
                for row in contacts[:_SHOWN_CONTACTS]
            ),
            count_contacts=len(contacts),
            next_steps=tuple(steps),
        )

    def telling_account(self, snapshot: Snapshot) -> str | None:
        """Return the account whose page shows most: the treated one that gained most breadth, else the broadest."""
        with self._marts(snapshot) as marts:
            row = marts.execute(
                """
                select account_id from base
                left join (
                    select account_id, max(breadth_after - breadth_before) as gained
                    from fct_outcomes where arm = 'treatment' and is_goal_reached group by account_id
                ) using (account_id)
                order by gained desc nulls last, adoption_breadth desc nulls last, account_id limit 1
                """
            ).fetchone()
        return row[0] if row else None


def _outcome(marts: duckdb.DuckDBPyConnection, playbook: str, holdout: float | None) -> PlaybookOutcome:
    counts = marts.execute(
        """
        select arm, count(*), count(*) filter (is_window_closed), count(*) filter (is_window_closed and is_goal_reached)
        from first_entries where playbook = $1 group by arm
        """,
        [playbook],
    ).fetchall()
    enrolled = {Arm(arm): n for arm, n, _, _ in counts}
    closed = {Arm(arm): n for arm, _, n, _ in counts}
    reached = {Arm(arm): n for arm, _, _, n in counts}
    before, after = _row(
        marts,
        """
        select avg(breadth_before), avg(breadth_after) from first_entries
        where playbook = $1 and arm = 'treatment' and is_window_closed
        """,
        playbook,
    )
    lift = (
        _lift(marts, playbook, holdout) if min(closed.get(Arm.TREATMENT, 0), closed.get(Arm.HOLDOUT, 0)) > 1 else None
    )
    compared = (Arm.TREATMENT, Arm.HOLDOUT)
    return PlaybookOutcome(
        playbook=playbook,
        count_enrolled=enrolled,
        count_closed=closed,
        count_reached=reached,
        lift=lift,
        verdict=Verdict.TOO_EARLY
        if lift is None
        else verdict(
            lift,
            planned=sum(enrolled.get(arm, 0) for arm in compared),
            final=all(enrolled.get(arm, 0) == closed.get(arm, 0) for arm in compared),
        ),
        breadth_before=before,
        breadth_after=after,
    )


def _lift(marts: duckdb.DuckDBPyConnection, playbook: str, holdout: float | None) -> Lift:
    rows = marts.sql(
        """
        select arm, is_goal_reached::double as reached, coalesce(breadth_before, 0) as breadth_before
        from first_entries
        where playbook = $playbook and is_window_closed and arm in ('treatment', 'holdout')
        """,
        params={"playbook": playbook},
    )
    drawn = None if holdout is None else {"treatment": 1 - holdout, "holdout": holdout}
    return estimate(rows, arm="arm", control="holdout", outcome="reached", covariate="breadth_before", allocation=drawn)


def _row(marts: duckdb.DuckDBPyConnection, sql: str, *params: object) -> Sequence[Any]:
    row = marts.execute(sql, list(params)).fetchone()
    assert row is not None, "an aggregate without grouping always has one row"
    return row


def _records(marts: duckdb.DuckDBPyConnection, sql: str, *params: object) -> list[Mapping[str, Any]]:
    rows: list[Mapping[str, Any]] = marts.execute(sql, list(params)).to_arrow_table().to_pylist()
    return rows
