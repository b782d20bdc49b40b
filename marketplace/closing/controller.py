"""Closings and their documents over HTTP."""

from litestar import Controller, get, post
from litestar.response import Response
from litestar.status_codes import HTTP_200_OK, HTTP_202_ACCEPTED

from marketplace.closing.schemas import ClosingView, DocumentView, Draft, NewClosing
from marketplace.operator_node import Node
from settlement.documents import MEDIA_TYPES, Format

OCTETS = "application/octet-stream"
"""Of what is no document, such as TAP."""


class ClosingController(Controller):
    """Periods."""

    path = "/closings"
    tags = ("closing",)

    @post("/", status_code=HTTP_202_ACCEPTED)
    async def close(self, node: Node, data: NewClosing) -> ClosingView:
        """Close a period, or go on with one that failed; read it again to see how far it is."""
        return await node.closings.open(data)

    @post("/draft", status_code=HTTP_200_OK)
    async def draft(self, node: Node, data: NewClosing) -> Draft:
        """Show what closing a period would make now; nothing is issued, sent or numbered."""
        return await node.closings.draft(data)

    @get("/")
    async def list_all(self, node: Node) -> list[ClosingView]:
        """List closings, the latest period first."""
        return await node.closings.list_all()

    @get("/{closing:str}")
    async def show(self, node: Node, closing: str) -> ClosingView:
        """Show a closing's steps and progress."""
        return await node.closings.show(closing)

    @get("/{closing:str}/documents")
    async def documents(self, node: Node, closing: str) -> list[DocumentView]:
        """List what a closing made, TAP files too."""
        return await node.closings.list_documents(closing)


class DocumentController(Controller):
    """Issued documents and their files."""

    path = "/documents"
    tags = ("closing",)

    @get("/")
    async def list_all(self, node: Node) -> list[DocumentView]:
        """List every document that a closing issued."""
        return await node.closings.list_documents()

    @get("/files/{name:str}", media_type=OCTETS)
    async def download(self, node: Node, name: str) -> Response[bytes]:
        """Download a file by its name, as `INV-2026-000001.en.pdf`."""
        octets = await node.closings.read_file(name)
        ending = name.rpartition(".")[2]
        kind = MEDIA_TYPES[Format(ending)] if ending in {each.value for each in Format} else OCTETS
        return Response(octets, media_type=kind, headers={"content-disposition": f'attachment; filename="{name}"'})
