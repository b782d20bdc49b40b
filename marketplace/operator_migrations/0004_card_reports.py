"""What each card last said of itself: the account it uses and where it is reached (`ota.scp80.report`)."""

from alembic import op

revision = "0004"
down_revision = "0003"

STATEMENT = """
CREATE TABLE card_reports (
    iccid text PRIMARY KEY,
    slot smallint NOT NULL,
    plmn text NOT NULL,
    fingerprint bytea NOT NULL,
    number text NOT NULL,
    smsc text NOT NULL,
    counter bigint NOT NULL,
    received_ms bigint NOT NULL
)
"""


def upgrade() -> None:
    """Make the table."""
    op.execute(STATEMENT)
