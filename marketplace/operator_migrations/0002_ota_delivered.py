"""When the carrier said that a packet is in the card. A database made since has the column from the start."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the column where it is missing."""
    op.execute("ALTER TABLE ota_packets ADD COLUMN IF NOT EXISTS delivered_at timestamptz")
