"""Tables of issued documents, in the database of whoever issues: series of numbers, documents, their files.

A row of `document_series` is the lock of its series: who takes a number holds it until the commit. Nothing here is
ever deleted; what was wrong is corrected by another document.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKey,
    Identity,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    func,
)

metadata = MetaData()

series: Final = Table(
    "document_series",
    metadata,
    Column("issuer", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("year", SmallInteger, primary_key=True),
    Column("last", Integer, nullable=False, comment="the number given last; its row is the lock of the series"),
    CheckConstraint("last >= 0", name="document_series_from_one"),
)

documents: Final = Table(
    "documents",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("issuer", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("year", SmallInteger, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("number", Text, nullable=False),
    Column("subject", Text, nullable=False, comment="what the document is of; issued once a kind"),
    Column("issued_on", Date, nullable=False),
    Column("body", LargeBinary, nullable=False, comment="the document's values, as JSON"),
    Column("stored_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    UniqueConstraint("issuer", "kind", "year", "sequence"),
    UniqueConstraint("issuer", "kind", "subject"),
    CheckConstraint("sequence > 0", name="documents_from_one"),
)

files: Final = Table(
    "document_files",
    metadata,
    Column("document", BigInteger, ForeignKey("documents.id"), primary_key=True),
    Column("language", Text, primary_key=True),
    Column("format", Text, primary_key=True),
    Column("digest", LargeBinary, nullable=False, index=True, comment="SHA-256 of the octets; a CSV bears no number"),
    Column("octets", LargeBinary, nullable=False),
)
