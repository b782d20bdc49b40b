"""The ledger as it is first laid: log, tree, head, state, payloads."""

from alembic import op

from settlement.ledger.tables import metadata

revision = "0001"
down_revision = None

TABLES = (
    "head entries tree ledger operators keys accounts deposits redemptions offers bid_requests requests "
    "payloads assertions"
).split()


def upgrade() -> None:
    metadata.create_all(op.get_bind(), tables=[metadata.tables[name] for name in TABLES])
