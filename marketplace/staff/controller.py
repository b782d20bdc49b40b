"""Members of staff over HTTP."""

from litestar import Controller, get, post

from marketplace.operator_node import Node
from marketplace.staff.service import Credentials, Member, NewMember, require_owner


class StaffController(Controller):
    """Members of staff."""

    path = "/staff"
    tags = ("node",)

    @get("/")
    async def list_all(self, node: Node) -> list[Member]:
        """List members, those removed too."""
        return await node.staff.list()

    @post("/")
    async def add(self, node: Node, by: str, data: NewMember) -> Credentials:
        """Add a member, with the node's own token; the member's token is shown this once."""
        require_owner(by)
        return await node.staff.add(data)

    @post("/{name:str}/remove", status_code=204)
    async def remove(self, node: Node, by: str, name: str) -> None:
        """End a member's token; the name stays in the history."""
        require_owner(by)
        await node.staff.remove(name)
