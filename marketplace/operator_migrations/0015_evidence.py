"""Evidence against usage reports: when cards switched, what meters signed, what is plausible; checks that were made."""

from alembic import op

revision = "0015"
down_revision = "0014"

STATEMENTS = """
CREATE TABLE card_switches (
    iccid text NOT NULL,
    counter bigint NOT NULL,
    slot smallint NOT NULL,
    request uuid,
    received_ms bigint NOT NULL,
    PRIMARY KEY (iccid, counter)
);
CREATE INDEX card_switches_request ON card_switches (request);
CREATE TABLE device_keys (
    subscriber uuid NOT NULL REFERENCES subscribers,
    key bytea NOT NULL CHECK (octet_length(key) = 32),
    added_ms bigint NOT NULL,
    added_by text NOT NULL,
    PRIMARY KEY (subscriber, added_ms)
);
CREATE TABLE meter_readings (
    request uuid NOT NULL REFERENCES requests,
    minute bigint NOT NULL,
    octets bigint NOT NULL,
    seconds bigint NOT NULL,
    messages bigint NOT NULL,
    signature bytea NOT NULL,
    key bytea NOT NULL,
    received_ms bigint NOT NULL,
    PRIMARY KEY (request, minute)
);
CREATE TABLE plausible_limits (
    offer uuid PRIMARY KEY,
    octets_per_s bigint NOT NULL,
    messages_per_h bigint NOT NULL,
    set_ms bigint NOT NULL,
    set_by text NOT NULL
);
CREATE TABLE evidence_checks (
    id uuid PRIMARY KEY,
    partner text NOT NULL,
    period text NOT NULL,
    made_ms bigint NOT NULL,
    made_by text NOT NULL,
    body text NOT NULL
)
"""


def upgrade() -> None:
    """Make the tables."""
    for statement in STATEMENTS.split(";\n"):
        op.execute(statement)
    for table in ("meter_readings", "evidence_checks"):
        op.execute(
            f"CREATE TRIGGER {table}_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION keep_history()"
        )
