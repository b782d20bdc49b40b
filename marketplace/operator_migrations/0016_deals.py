"""Deals this operator is a party of, as they were proposed on the ledger, and which of its offers are of a deal."""

from alembic import op

revision = "0016"
down_revision = "0015"

STATEMENTS = """
CREATE TABLE deals (
    id uuid PRIMARY KEY,
    proposer text NOT NULL,
    proposal text NOT NULL,
    leaf text UNIQUE,
    policy text NOT NULL DEFAULT 'hold' CHECK (policy IN ('auto', 'hold')),
    state text NOT NULL CHECK (state IN ('proposing', 'proposed', 'agreed', 'dropped', 'rejected')),
    cause text,
    proposed_by text,
    answered_by text
);
ALTER TABLE offers ADD COLUMN deal uuid
"""


def upgrade() -> None:
    """Make the table."""
    for statement in STATEMENTS.split(";\n"):
        op.execute(statement)
