"""`/v1/documents`, `/v1/attestations`: public, for whoever has a document, or holds SDRt."""

from typing import Annotated, Final

import asyncpg
from litestar import Controller, get
from litestar.params import PathParameter

from marketplace.ledger_node import Node
from marketplace.listing import columns_of, read_row
from marketplace.problems import ProblemError
from settlement.ledger.api import PAGE, Page, Path, Recorded
from settlement.ledger.state import Attestation

Digest = Annotated[str, PathParameter(pattern="^[0-9a-f]{64}$", description="SHA-256 of the document, hex.")]

_FIND: Final = """
SELECT "index", entries.time, entries.sender, type, field FROM (
    SELECT id, sender, 'record-document' AS type, 'digest' AS field FROM documents WHERE digest = $1
    UNION ALL SELECT id, creditor, 'invoice', 'document' FROM obligations WHERE document = $1
    UNION ALL SELECT id, attestor, 'attest-reserves', 'digest' FROM attestations WHERE digest = $1
) AS found JOIN entries ON entries.id = found.id AND entries.sender = found.sender ORDER BY "index" LIMIT $2
"""
_ATTESTATIONS: Final = f"SELECT {columns_of(Attestation)} FROM attestations ORDER BY made DESC, id LIMIT $1"  # noqa: S608


class DocumentController(Controller):
    """What is on the ledger of documents, and of the deposits behind the SDRt."""

    tags = ("settlement",)

    @get(Path.DOCUMENTS + "/{digest:str}", summary="Find a document by its digest")
    async def find(self, node: Node, digest: Digest) -> list[Recorded]:
        """Where the SHA-256 of a file stands in the log, oldest first: recorded documents, invoices, attestations.

        Public: who knows the digest has the file. Example: `curl …/v1/documents/$(sha256sum invoice.pdf | cut -c-64)`
        """
        rows = await find_document(node.store.pool, digest)
        if not rows:
            raise ProblemError("not-found", f"no document of digest {digest} is on the ledger")
        return rows

    @get(Path.ATTESTATIONS, summary="Statements of the deposits behind the SDRt")
    async def attestations(self, node: Node) -> Page[Attestation]:
        """The newest 100, each with what was minted and burnt at its entry; an audit compares them as at `as_of`.

        Example: `curl …/v1/attestations`
        """
        rows = await node.store.pool.fetch(_ATTESTATIONS, PAGE)
        return Page(tuple(read_row(Attestation, row) for row in rows))


async def find_document(pool: asyncpg.Pool, digest: str) -> list[Recorded]:
    """Entries that have the digest, oldest first."""
    return [Recorded(*row) for row in await pool.fetch(_FIND, digest, PAGE)]
