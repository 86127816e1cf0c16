"""Run on the connection that `store` hands over, inside its one transaction: a killed migration leaves nothing."""

from alembic import context

from uptake.adapters.ledger.schema import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    transactional_ddl=True,
    render_as_batch=False,
)
context.run_migrations()
