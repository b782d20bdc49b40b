"""The operator node's tables. Times are milliseconds since the epoch, amounts micro-SDRt or minor units by name."""

from alembic import op

from ota.outbox import metadata as ota_tables

revision = "0001"
down_revision = None

STATEMENTS = """
CREATE TABLE follower (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    cursor bigint NOT NULL DEFAULT -1,
    seen_size bigint,
    seen_root bytea
);
INSERT INTO follower DEFAULT VALUES;

CREATE TABLE outbox (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id uuid NOT NULL UNIQUE,
    purpose text NOT NULL,
    subject text NOT NULL,
    envelope bytea NOT NULL,
    payload bytea,
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'accepted', 'rejected')),
    answer text,
    stored_ms bigint NOT NULL,
    answered_ms bigint
);
CREATE UNIQUE INDEX outbox_once ON outbox (purpose, subject) WHERE state <> 'rejected';
CREATE INDEX outbox_pending ON outbox (position) WHERE state = 'pending';

CREATE TABLE tasks (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL,
    subject text NOT NULL,
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'done', 'failed')),
    attempts int NOT NULL DEFAULT 0,
    due_ms bigint NOT NULL DEFAULT 0,
    error text,
    UNIQUE (kind, subject)
);
CREATE INDEX tasks_due ON tasks (due_ms) WHERE state = 'waiting';

CREATE TABLE entries (
    index bigint PRIMARY KEY,
    time_ms bigint NOT NULL,
    kind text NOT NULL,
    sender text NOT NULL,
    counterparty text,
    role text CHECK (role IN ('home', 'visited')),
    partner text,
    request uuid,
    settled_usdr bigint NOT NULL,
    returned_usdr bigint NOT NULL DEFAULT 0,
    refused text NOT NULL DEFAULT '[]'
);
CREATE INDEX entries_time ON entries (time_ms);

CREATE TABLE offers (
    id uuid PRIMARY KEY,
    publisher text NOT NULL,
    terms text NOT NULL,
    policy text NOT NULL DEFAULT 'auto' CHECK (policy IN ('auto', 'hold')),
    state text NOT NULL,
    cause text,
    published_ms bigint
);

CREATE TABLE requests (
    id uuid PRIMARY KEY,
    role text NOT NULL CHECK (role IN ('home', 'visited')),
    home text NOT NULL,
    visited text NOT NULL,
    offer uuid NOT NULL,
    delivery_key text NOT NULL,
    state text NOT NULL,
    cause text,
    placed_ms bigint NOT NULL,
    accept_by_ms bigint NOT NULL,
    ends_ms bigint NOT NULL,
    report_by_ms bigint NOT NULL DEFAULT 0,
    escrow_usdr bigint NOT NULL,
    charged_usdr bigint NOT NULL DEFAULT 0,
    payload text,
    activated_ms bigint NOT NULL DEFAULT 0,
    next_sequence int NOT NULL DEFAULT 1,
    reporting uuid
);
CREATE INDEX requests_state ON requests (role, state);

CREATE TABLE profiles (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    imsi text NOT NULL UNIQUE,
    mark bytea NOT NULL UNIQUE,
    keys bytea NOT NULL,
    msisdn text NOT NULL,
    iccid text,
    acc int NOT NULL,
    state text NOT NULL DEFAULT 'free' CHECK (state IN ('free', 'assigned', 'active', 'quarantined')),
    request uuid UNIQUE,
    sent boolean NOT NULL DEFAULT false,
    since_ms bigint NOT NULL
);
CREATE INDEX profiles_free ON profiles (id) WHERE state = 'free';

CREATE TABLE codes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    mark bytea NOT NULL UNIQUE,
    code bytea NOT NULL,
    offer uuid,
    state text NOT NULL DEFAULT 'free' CHECK (state IN ('free', 'assigned', 'redeemed', 'void')),
    request uuid UNIQUE,
    since_ms bigint NOT NULL
);

CREATE TABLE usage_batches (
    id text PRIMARY KEY,
    digest bytea NOT NULL,
    received_ms bigint NOT NULL,
    answer text NOT NULL
);
CREATE TABLE usage_records (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    batch text NOT NULL REFERENCES usage_batches,
    request uuid NOT NULL REFERENCES requests,
    record text NOT NULL,
    state text NOT NULL DEFAULT 'stored' CHECK (state IN ('stored', 'reported', 'settled', 'refused')),
    report uuid,
    cause text
);
CREATE INDEX usage_stored ON usage_records (request, position) WHERE state = 'stored';
CREATE INDEX usage_report ON usage_records (report);

CREATE TABLE subscribers (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    msisdn text NOT NULL,
    iccid text NOT NULL UNIQUE,
    slots int NOT NULL CHECK (slots BETWEEN 1 AND 15),
    added_ms bigint NOT NULL
);
CREATE TABLE card_slots (
    iccid text NOT NULL,
    slot int NOT NULL,
    request uuid NOT NULL UNIQUE,
    state text NOT NULL CHECK (state IN ('reserved', 'stored', 'deleting')),
    packet uuid,
    fingerprint bytea,
    PRIMARY KEY (iccid, slot)
);

CREATE TABLE packages (
    id uuid PRIMARY KEY,
    state text NOT NULL DEFAULT 'on-sale' CHECK (state IN ('on-sale', 'withdrawn')),
    quote text NOT NULL,
    published_ms bigint NOT NULL
);
CREATE TABLE purchases (
    id uuid PRIMARY KEY,
    subscriber uuid NOT NULL REFERENCES subscribers,
    package uuid NOT NULL REFERENCES packages,
    state text NOT NULL CHECK (state IN ('paying', 'ordering', 'placed', 'refused', 'failed')),
    placed_ms bigint NOT NULL
);
CREATE TABLE purchase_items (
    id uuid PRIMARY KEY,
    purchase uuid NOT NULL REFERENCES purchases,
    number int NOT NULL,
    offer uuid NOT NULL,
    name text NOT NULL,
    order_terms text NOT NULL,
    share_minor bigint NOT NULL,
    request uuid UNIQUE,
    state text NOT NULL,
    cause text,
    detail text,
    code bytea,
    UNIQUE (purchase, number)
);
CREATE TABLE payments (
    id uuid PRIMARY KEY,
    purchase uuid NOT NULL UNIQUE REFERENCES purchases,
    provider text NOT NULL,
    method text NOT NULL,
    amount_minor bigint NOT NULL CHECK (amount_minor >= 0),
    currency text NOT NULL,
    state text NOT NULL CHECK (state IN ('created', 'pending', 'paid', 'refused')),
    reference text,
    refunded_minor bigint NOT NULL DEFAULT 0,
    CHECK (refunded_minor BETWEEN 0 AND amount_minor)
);
CREATE TABLE refunds (
    item uuid PRIMARY KEY REFERENCES purchase_items,
    payment uuid NOT NULL REFERENCES payments,
    amount_minor bigint NOT NULL CHECK (amount_minor >= 0),
    state text NOT NULL DEFAULT 'owed' CHECK (state IN ('owed', 'paid'))
);
CREATE TABLE webhooks_seen (id text PRIMARY KEY, seen_ms bigint NOT NULL)
"""


def upgrade() -> None:
    """Make all tables, those of the OTA outbox included."""
    for statement in STATEMENTS.split(";\n"):
        op.execute(statement)
    ota_tables.create_all(op.get_bind())
