"""Alembic's migrations of the ledger, run by `uptake.adapters.ledger.store` on the ledger's own connection."""
