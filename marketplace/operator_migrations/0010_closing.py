"""Closing a period: the book of own entries, closings with their steps, what came of them (`marketplace.closing`)."""

from alembic import op

revision = "0010"
down_revision = "0005"

STATEMENTS = """
CREATE TABLE book (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    cursor bigint NOT NULL DEFAULT -1
);
INSERT INTO book DEFAULT VALUES;

CREATE TABLE book_requests (
    id uuid PRIMARY KEY,
    offer uuid NOT NULL,
    home text NOT NULL,
    visited text NOT NULL,
    meter bytea NOT NULL
);
CREATE TABLE book_charges (
    entry bigint NOT NULL,
    request uuid NOT NULL,
    position int NOT NULL,
    time_ms bigint NOT NULL,
    role text NOT NULL CHECK (role IN ('home', 'visited')),
    partner text NOT NULL,
    offer uuid NOT NULL,
    service text NOT NULL CHECK (service IN ('data', 'voice', 'message', 'period', 'fee')),
    start_ms bigint NOT NULL,
    offset_min int NOT NULL,
    duration int NOT NULL,
    units bigint NOT NULL,
    place text NOT NULL,
    charge_usdr bigint NOT NULL,
    PRIMARY KEY (entry, request, position)
);
CREATE INDEX book_charges_time ON book_charges (time_ms);
CREATE TABLE book_movements (
    entry bigint PRIMARY KEY,
    time_ms bigint NOT NULL,
    cause text NOT NULL,
    partner text NOT NULL,
    reference text NOT NULL,
    amount_usdr bigint NOT NULL
);
CREATE INDEX book_movements_time ON book_movements (time_ms);
CREATE TABLE book_debts (
    entry bigint NOT NULL,
    obligation uuid NOT NULL,
    time_ms bigint NOT NULL,
    cause text NOT NULL CHECK (cause IN ('opened', 'payment', 'netting')),
    source uuid,
    amount_usdr bigint NOT NULL,
    PRIMARY KEY (entry, obligation)
);

CREATE TABLE closings (
    id text PRIMARY KEY,
    from_ms bigint NOT NULL,
    to_ms bigint NOT NULL CHECK (to_ms > from_ms),
    state text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'failed', 'done')),
    attempt int NOT NULL DEFAULT 1,
    issued_on date NOT NULL,
    asked_ms bigint NOT NULL,
    done_ms bigint,
    error text
);
CREATE TABLE closing_steps (
    closing text NOT NULL REFERENCES closings,
    number int NOT NULL,
    name text NOT NULL,
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'running', 'done')),
    done int NOT NULL DEFAULT 0,
    total int,
    told text NOT NULL DEFAULT '',
    PRIMARY KEY (closing, number)
);
CREATE TABLE closing_documents (
    closing text NOT NULL REFERENCES closings,
    document bigint NOT NULL UNIQUE REFERENCES documents,
    kind text NOT NULL,
    counterparty text,
    amount_usdr bigint NOT NULL,
    PRIMARY KEY (closing, document)
);
CREATE TABLE closing_files (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    closing text NOT NULL REFERENCES closings,
    name text NOT NULL,
    partner text NOT NULL,
    sequence int NOT NULL,
    amount_usdr bigint NOT NULL,
    digest bytea NOT NULL,
    octets bytea NOT NULL,
    UNIQUE (closing, name),
    UNIQUE (partner, sequence)
);
CREATE TABLE closing_obligations (
    obligation uuid PRIMARY KEY,
    closing text NOT NULL REFERENCES closings
)
"""


def upgrade() -> None:
    """Make the tables."""
    for statement in STATEMENTS.split(";\n"):
        op.execute(statement)
