"""Disputes as the ledger has them, the steps this operator's staff took, and what their digests are of."""

from alembic import op

revision = "0014"
down_revision = "0013"

STATEMENTS = """
CREATE TABLE disputes (
    id uuid PRIMARY KEY,
    role text NOT NULL CHECK (role IN ('home', 'visited')),
    partner text NOT NULL,
    request uuid NOT NULL,
    state text NOT NULL,
    deadline_ms bigint NOT NULL,
    body text NOT NULL,
    seen_ms bigint NOT NULL
);
CREATE INDEX disputes_state ON disputes (state, deadline_ms);
CREATE TABLE dispute_steps (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    dispute uuid NOT NULL,
    at_ms bigint NOT NULL,
    by text NOT NULL,
    step text NOT NULL,
    digest text,
    message uuid NOT NULL
);
CREATE INDEX dispute_steps_dispute ON dispute_steps (dispute);
CREATE TABLE dossiers (
    digest text PRIMARY KEY,
    dispute uuid NOT NULL,
    name text NOT NULL,
    octets bytea NOT NULL,
    added_ms bigint NOT NULL
)
"""


def upgrade() -> None:
    """Make the tables."""
    for statement in STATEMENTS.split(";\n"):
        op.execute(statement)
    for table in ("dispute_steps", "dossiers"):
        op.execute(
            f"CREATE TRIGGER {table}_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION keep_history()"
        )
