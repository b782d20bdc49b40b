"""The ledger as it is first laid: log, tree, head, state, payloads."""

from alembic import op

from settlement.ledger.tables import metadata

revision = "0001"
down_revision = None


def upgrade() -> None:
    metadata.create_all(op.get_bind())
