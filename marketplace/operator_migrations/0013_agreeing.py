"""Staff; settled usage as records; runs of reconciliation, cases and their history, which is only ever added to."""

from alembic import op

revision = "0013"
down_revision = "0010"

STATEMENTS = """
CREATE TABLE staff (
    name text PRIMARY KEY,
    mark bytea NOT NULL UNIQUE,
    added_ms bigint NOT NULL,
    removed_ms bigint
);

CREATE TABLE reported_groups (
    entry bigint NOT NULL,
    request uuid NOT NULL,
    partner text NOT NULL,
    visited text NOT NULL,
    sequence int NOT NULL,
    time_ms bigint NOT NULL,
    leaf text NOT NULL,
    records text NOT NULL,
    charges text NOT NULL,
    from_ms bigint NOT NULL,
    to_ms bigint NOT NULL,
    PRIMARY KEY (entry, request)
);
CREATE INDEX reported_groups_partner ON reported_groups (partner, from_ms);
CREATE INDEX reported_groups_request ON reported_groups (request, sequence);
CREATE TABLE reported_meters (request uuid PRIMARY KEY, meter text NOT NULL);

CREATE TABLE agreement_files (
    digest text PRIMARY KEY,
    name text NOT NULL,
    octets bytea NOT NULL,
    added_ms bigint NOT NULL,
    added_by text NOT NULL
);
CREATE TABLE own_records (
    file text NOT NULL REFERENCES agreement_files,
    record int NOT NULL,
    key text NOT NULL,
    party text NOT NULL,
    time_ms bigint NOT NULL,
    amount_usdr bigint NOT NULL,
    request text NOT NULL,
    volume bigint NOT NULL,
    duration bigint NOT NULL,
    PRIMARY KEY (file, record)
);
CREATE INDEX own_records_party ON own_records (party, time_ms);
CREATE TABLE agreement_runs (
    id uuid PRIMARY KEY,
    partner text NOT NULL,
    period text NOT NULL,
    from_ms bigint NOT NULL,
    to_ms bigint NOT NULL,
    made_by text NOT NULL,
    made_ms bigint NOT NULL,
    ours text NOT NULL,
    theirs text NOT NULL,
    report text NOT NULL
);
CREATE INDEX agreement_runs_made ON agreement_runs (made_ms);
CREATE TABLE agreement_cases (
    id uuid PRIMARY KEY,
    mark text NOT NULL UNIQUE,
    partner text NOT NULL,
    source text NOT NULL,
    basis text NOT NULL,
    kind text NOT NULL,
    state text NOT NULL CHECK (state IN ('open', 'cleared', 'proposed', 'confirmed', 'disputed', 'ended')),
    time_ms bigint NOT NULL,
    at_stake_usdr bigint NOT NULL CHECK (at_stake_usdr >= 0),
    dispute uuid,
    body text NOT NULL
);
CREATE INDEX agreement_cases_partner ON agreement_cases (partner, basis, time_ms);
CREATE INDEX agreement_cases_state ON agreement_cases (state, partner);
CREATE UNIQUE INDEX agreement_cases_dispute ON agreement_cases (dispute);
CREATE TABLE agreement_run_cases (
    run uuid NOT NULL REFERENCES agreement_runs,
    place int NOT NULL,
    "case" uuid NOT NULL REFERENCES agreement_cases,
    PRIMARY KEY (run, place)
);
CREATE TABLE agreement_events (
    "case" uuid NOT NULL REFERENCES agreement_cases,
    number int NOT NULL,
    at_ms bigint NOT NULL,
    by text NOT NULL,
    what text NOT NULL,
    sets text NOT NULL,
    PRIMARY KEY ("case", number)
)
"""

KEPT = """
CREATE FUNCTION keep_history() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'history is only ever added to: % of % is refused', TG_OP, TG_TABLE_NAME;
END $$
"""


def upgrade() -> None:
    """Make the tables."""
    for statement in STATEMENTS.split(";\n"):
        op.execute(statement)
    op.execute(KEPT)
    for table in ("agreement_events", "agreement_runs", "agreement_run_cases", "agreement_files"):
        op.execute(
            f"CREATE TRIGGER {table}_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION keep_history()"
        )
