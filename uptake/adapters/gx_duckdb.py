# ruff: noqa: ARG002  # the signatures are SQLAlchemy's
"""DuckDB as Great Expectations reaches it: a SQLAlchemy dialect for one file, opened read-only.

GX 1.24 has no DuckDB data source, and its generic SQL one ends a transaction before it fetches, which makes DuckDB
drop the pending rows. Here nothing is ever ended, because nothing is ever written: commit and rollback do nothing.
Importing this module registers the address `duckdb+readonly:///<path>`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
from sqlalchemy import types
from sqlalchemy.dialects import registry
from sqlalchemy.engine import URL, Connection
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.exc import NoSuchTableError

_TYPES: dict[str, type[types.TypeEngine[Any]]] = {
    "VARCHAR": types.String,
    "BIGINT": types.BigInteger,
    "INTEGER": types.Integer,
    "DOUBLE": types.Float,
    "BOOLEAN": types.Boolean,
    "DATE": types.Date,
    "TIMESTAMP": types.DateTime,
}


class ReadOnlyDuckDB(DefaultDialect):
    """The part of a dialect that reading needs."""

    name = "duckdb"
    driver = "readonly"
    default_paramstyle = "qmark"
    supports_statement_cache = True
    supports_native_boolean = True
    max_identifier_length = 255

    @classmethod
    def import_dbapi(cls) -> Any:
        """Return DuckDB's own module, which is a DB-API."""
        return duckdb

    def create_connect_args(self, url: URL) -> Any:
        """Return the arguments of `duckdb.connect`."""
        return [url.database], {"read_only": True}

    def do_rollback(self, dbapi_connection: Any) -> None:
        """Keep pending rows: there is nothing to undo."""

    def do_commit(self, dbapi_connection: Any) -> None:
        """Keep pending rows: there is nothing to write."""

    def _get_server_version_info(self, connection: Connection) -> Any:
        return tuple(int(part) for part in duckdb.__version__.split(".")[:3] if part.isdigit())

    def _get_default_schema_name(self, connection: Connection) -> str:
        return "main"

    def get_schema_names(self, connection: Connection, **kw: Any) -> list[str]:
        """Return the schemas of the file."""
        rows = connection.exec_driver_sql(
            "select distinct schema_name from duckdb_schemas() where database_name = current_database()"
        )
        return [row[0] for row in rows]

    def get_table_names(self, connection: Connection, schema: str | None = None, **kw: Any) -> list[str]:
        """Return the tables of a schema."""
        rows = connection.exec_driver_sql(
            "select table_name from duckdb_tables() where schema_name = ?", (schema or "main",)
        )
        return [row[0] for row in rows]

    def get_view_names(self, connection: Connection, schema: str | None = None, **kw: Any) -> list[str]:
        """Return the views of a schema."""
        rows = connection.exec_driver_sql(
            "select view_name from duckdb_views() where schema_name = ?", (schema or "main",)
        )
        return [row[0] for row in rows]

    def has_table(self, connection: Connection, table_name: str, schema: str | None = None, **kw: Any) -> bool:
        """Say whether there is a table or view of this name."""
        return bool(self._columns(connection, table_name, schema))

    def get_columns(self, connection: Connection, table_name: str, schema: str | None = None, **kw: Any) -> Any:
        """Return the columns in order. Raises NoSuchTableError."""
        rows = self._columns(connection, table_name, schema)
        if not rows:
            raise NoSuchTableError(table_name)
        return [
            {"name": name, "type": _TYPES.get(kind, types.NullType)(), "nullable": nullable, "default": None}
            for name, kind, nullable in rows
        ]

    def _columns(self, connection: Connection, table_name: str, schema: str | None) -> list[Any]:
        query = (
            "select column_name, data_type, is_nullable from duckdb_columns() "
            "where schema_name = ? and table_name = ? order by column_index"
        )
        return list(connection.exec_driver_sql(query, (schema or "main", str(table_name))))

    def get_pk_constraint(self, connection: Connection, table_name: str, schema: str | None = None, **kw: Any) -> Any:
        """Return none: marts state their keys in contracts and suites."""
        return {"constrained_columns": [], "name": None}

    def get_foreign_keys(self, connection: Connection, table_name: str, schema: str | None = None, **kw: Any) -> Any:
        """Return none."""
        return []

    def get_indexes(self, connection: Connection, table_name: str, schema: str | None = None, **kw: Any) -> Any:
        """Return none."""
        return []


registry.register("duckdb.readonly", __name__, ReadOnlyDuckDB.__name__)


def address(path: Path) -> str:
    """Return the SQLAlchemy address under which a DuckDB file is opened read-only."""
    return URL.create("duckdb+readonly", database=str(path.resolve())).render_as_string()
