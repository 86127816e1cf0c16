"""Where every run of orders to a ledger begins: six people entered, the first mail of three of them planned."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from tests.crash.outbox import KEYS, RELEASE, address_of
from tests.crash.small_world import STAGES, TWO_STAGES, enter_all, plan_first
from uptake.adapters.ledger import SqlLedger, open_ledger
from uptake.adapters.ledger.schema import metadata
from uptake.domain.ids import send_id

ARMS = {**dict.fromkeys(("c0", "c1", "c2", "c3", "c4"), "treatment"), "c5": "holdout"}
FIRST = ("c0", "c1", "c2")  # planned already when a run begins
ADDRESSES = [*(address_of(name) for name in ARMS), "spare@customer.example"]
KEYS_OF = [(contact, stage) for contact in ARMS for stage in STAGES]
IDS = {
    send_id(
        KEYS.pseudonym, playbook=RELEASE.name, account_id=contact, entry_no=1, stage_key=stage, contact_id=contact
    ): (contact, stage)
    for contact, stage in KEYS_OF
}
ID_OF = {key: one for one, key in IDS.items()}


class Base:
    """A ledger that can be put back to its beginning."""

    def __init__(self, url: str) -> None:
        self.ledger: SqlLedger = open_ledger(url, KEYS)
        self._store = self.ledger._store
        if self._store.is_sqlite:
            sa.event.listen(self._store._engine, "connect", _fast)
            self.ledger.close()
        enter_all(self.ledger, TWO_STAGES, ARMS)
        plan_first(self.ledger, FIRST)
        self._tables = [table.name for table in metadata.sorted_tables]
        with self._store.write() as connection:
            for table in self._tables:
                connection.exec_driver_sql(f"create table beginning_{table} as select * from {table}")

    def reset(self) -> None:
        with self._store.write() as connection:
            if self._store.is_sqlite:
                connection.exec_driver_sql("pragma defer_foreign_keys = on")
                for table in self._tables:
                    connection.exec_driver_sql(f"delete from {table}")
                    connection.exec_driver_sql(f"insert into {table} select * from beginning_{table}")
                return
            connection.exec_driver_sql(f"truncate {', '.join(self._tables)}")
            for table in self._tables:
                connection.exec_driver_sql(
                    f"insert into {table} overriding system value select * from beginning_{table}"
                )


def _fast(connection: Any, _record: object) -> None:
    for pragma in ("journal_mode = MEMORY", "synchronous = OFF"):
        connection.execute(f"pragma {pragma}")
