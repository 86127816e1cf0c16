"""When mail may leave, on each recipient's own clock: solved once per distinct time zone, joined back to contacts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa

from uptake.adapters.journeys import side
from uptake.domain.windows import closes_at, next_allowed
from uptake.domain.workspace import Workspace

_OPENINGS = pa.schema({"version_id": side.INT, "zone": side.TEXT, "opens_at": side.AT, "closes_at": side.AT})
_ZONES = pa.schema({"zone": side.TEXT})

# A zone that no clock knows counts as none. The chain: the person, the contact's mart row, the account, the workspace.
_CANDIDATES = """
create temp table zone_candidates as
select
    base.version_id,
    base.contact_id,
    [people.time_zone, contact.time_zone, account.time_zone, rules.default_zone] as chain
from {base} as base
inner join rules using (version_id)
left join people on people.contact_id = base.contact_id
left join contacts_current as contact on contact.contact_id = base.contact_id
left join dim_accounts as account on account.account_id = base.account_id
"""

_CONTACT_ZONES = """
create temp table contact_zones as
select
    version_id,
    contact_id,
    coalesce(list_filter(chain, lambda zone: list_contains(known.zones, zone))[1], 'UTC') as zone
from zone_candidates
cross join (select coalesce(list(zone), []) as zones from known_zones) as known
"""

_OPENS = """
create temp table opens as
select contact_zones.version_id, contact_zones.contact_id, openings.opens_at, openings.closes_at
from contact_zones
inner join openings using (version_id, zone)
"""


#: `opens` when there is nobody to ask for.
NOBODY = "create temp table opens (version_id bigint, contact_id varchar, opens_at timestamp, closes_at timestamp)"


def find_zones(connection: duckdb.DuckDBPyConnection, base: str) -> None:
    """Build `contact_zones` for the version_id, contact_id and account_id of the relation `base`."""
    connection.execute(_CANDIDATES.format(base=base))
    named = connection.execute("select distinct unnest(chain) from zone_candidates").fetchall()
    known = [{"zone": name} for (name,) in named if is_zone(name)]
    connection.register("known_zones", pa.Table.from_pylist(known, schema=_ZONES))
    connection.execute(_CONTACT_ZONES)
    side.drop(connection, "zone_candidates")


def solve(connection: duckdb.DuckDBPyConnection, base: str, workspaces: Mapping[int, Workspace], now: datetime) -> None:
    """Build `opens` (version_id, contact_id, opens_at, closes_at): when each contact of `base` may be mailed next."""
    find_zones(connection, base)
    pairs = connection.execute("select distinct version_id, zone from contact_zones").fetchall()
    lines = []
    for version_id, zone in pairs:
        workspace = workspaces[version_id]
        opens = next_allowed(now, zone, workspace.window, workspace.holidays)
        closes = closes_at(opens, zone, workspace.window, workspace.holidays)
        moments = {"opens_at": side.naive(opens), "closes_at": side.naive(closes)}
        lines.append({"version_id": version_id, "zone": zone, **moments})
    connection.register("openings", pa.Table.from_pylist(lines, schema=_OPENINGS))
    connection.execute(_OPENS)
    side.drop(connection, "contact_zones")


@cache
def is_zone(name: str | None) -> bool:
    """Say whether this machine knows a time zone of that name."""
    try:
        ZoneInfo(name or "")
    except (KeyError, ValueError, OSError):
        return False
    return True
