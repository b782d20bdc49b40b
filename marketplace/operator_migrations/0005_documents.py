"""Issued documents: series of numbers without gaps, documents, their files (`settlement.documents.tables`)."""

from alembic import op

from settlement.documents.tables import metadata

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the tables."""
    metadata.create_all(op.get_bind())
