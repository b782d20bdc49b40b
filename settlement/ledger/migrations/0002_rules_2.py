"""What rules version 2 stores, and the head's epoch.

0001 makes its tables from today's `tables`, so on a fresh database its columns are there already; one that was laid
before gets them here. Both end as the same tables.
"""

from alembic import op

from settlement.ledger.tables import metadata

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute("ALTER TABLE head ADD COLUMN IF NOT EXISTS epoch bigint NOT NULL DEFAULT 1")
    op.execute("ALTER TABLE offers ADD COLUMN IF NOT EXISTS deal uuid")
    op.execute("ALTER TABLE requests ADD COLUMN IF NOT EXISTS cumulative jsonb")
    metadata.create_all(op.get_bind())
