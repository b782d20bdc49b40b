"""Packages over HTTP."""

from uuid import UUID

from litestar import Controller, get, post

from marketplace.operator_node import Node
from marketplace.packages.pricing import PackageDraft, Quote
from marketplace.packages.service import Package


class PackageController(Controller):
    """The home operator's range."""

    path = "/packages"
    tags = ("home",)

    @post("/preview", status_code=200)
    async def preview(self, node: Node, data: PackageDraft) -> Quote:
        """Show cost, SDR rate, price and margin of a draft; nothing is stored."""
        return await node.packages.preview(data)

    @post("/")
    async def publish(self, node: Node, data: PackageDraft) -> Package:
        """Put a package on sale."""
        return await node.packages.publish(data)

    @get("/")
    async def list_all(self, node: Node) -> list[Package]:
        """List packages."""
        return await node.packages.list_all()

    @post("/{package:uuid}/withdraw", status_code=200)
    async def withdraw(self, node: Node, package: UUID) -> Package:
        """Take a package off sale."""
        return await node.packages.withdraw(package)
