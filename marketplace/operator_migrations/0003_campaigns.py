"""Message templates, campaigns and their jobs, and key sets a card has besides the one in use.

A job is one card of a campaign. `queued` and `sending` are open; the rest is final. While it is `sending`, how far its
packet has come stands in `ota_packets` and nowhere else (decision 0083). `changed` counts changes, for who follows.
"""

from alembic import op

revision = "0003"
down_revision = "0002"

STATEMENTS = """
CREATE TABLE ota_templates (
    name text NOT NULL,
    version int NOT NULL,
    template text NOT NULL,
    words text NOT NULL,
    added_ms bigint NOT NULL,
    PRIMARY KEY (name, version)
);
CREATE TABLE ota_campaigns (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('commands', 'rotation')),
    single boolean NOT NULL,
    state text NOT NULL CHECK (state IN ('draft', 'running', 'paused', 'cancelled', 'done')),
    template text,
    version int,
    commands text NOT NULL,
    parameters text NOT NULL,
    given text NOT NULL,
    question text,
    words text NOT NULL,
    per_minute int CHECK (per_minute > 0),
    expires_ms bigint NOT NULL,
    created_ms bigint NOT NULL,
    ended_ms bigint
);
CREATE INDEX ota_campaigns_created ON ota_campaigns (created_ms);

CREATE SEQUENCE ota_changes;
CREATE TABLE ota_jobs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    campaign uuid NOT NULL REFERENCES ota_campaigns,
    iccid text NOT NULL,
    given text NOT NULL DEFAULT '{}',
    state text NOT NULL DEFAULT 'queued'
        CHECK (state IN ('queued', 'sending', 'proven', 'failed', 'unknown', 'cancelled', 'expired')),
    packet uuid,
    attempts int NOT NULL DEFAULT 0,
    absences int NOT NULL DEFAULT 0,
    due_ms bigint NOT NULL DEFAULT 0,
    words text,
    changed bigint NOT NULL DEFAULT nextval('ota_changes'),
    changed_ms bigint NOT NULL,
    UNIQUE (campaign, iccid)
);
CREATE INDEX ota_jobs_due ON ota_jobs (campaign, state, due_ms, id) WHERE state IN ('queued', 'sending');
CREATE INDEX ota_jobs_order ON ota_jobs (iccid, id) WHERE state IN ('queued', 'sending');
CREATE INDEX ota_jobs_card ON ota_jobs (iccid, id);
CREATE INDEX ota_jobs_state ON ota_jobs (campaign, state);
CREATE INDEX ota_jobs_changed ON ota_jobs (campaign, changed);

CREATE TABLE IF NOT EXISTS ota_other_keys (
    iccid text NOT NULL REFERENCES ota_cards,
    key_index smallint NOT NULL,
    sealed_keys bytea NOT NULL,
    counter bigint NOT NULL CHECK (counter BETWEEN 0 AND 1099511627775),
    state text NOT NULL CHECK (state IN ('new', 'former')),
    label text NOT NULL,
    PRIMARY KEY (iccid, key_index),
    UNIQUE (iccid, state)
);
CREATE TABLE card_numbers (iccid text PRIMARY KEY, msisdn text NOT NULL)
"""


def upgrade() -> None:
    """Make the tables; a database made since has `ota_other_keys` from the start."""
    for statement in STATEMENTS.split(";\n"):
        op.execute(statement)
