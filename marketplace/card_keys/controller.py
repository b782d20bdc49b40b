"""OTA key sets over HTTP."""

from typing import Annotated, Any, Final

from litestar import Controller, Request, post
from litestar.params import Parameter
from litestar.status_codes import HTTP_200_OK

from marketplace.card_keys.service import Imported
from marketplace.operator_node import Node
from simcard.provisioning_batch import FILE_BYTES_MAX

XLSX: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


class CardKeyController(Controller):
    """Key sets of cards."""

    path = "/ota/keys"
    tags = ("ota",)

    @post("/import", status_code=HTTP_200_OK, request_max_body_size=FILE_BYTES_MAX)
    async def take_file(
        self,
        node: Node,
        request: Request[Any, Any, Any],
        dry_run: bool = False,
        replace: bool = False,
        key_index: Annotated[int | None, Parameter(ge=1, le=15)] = None,
        counter: Annotated[int | None, Parameter(ge=0)] = None,
    ) -> Imported:
        """Import key sets from a provisioning batch, CSV or XLSX by content type; again changes nothing.

        `counter` is the last one these cards have seen, where they were in use before; it is never lowered. Another key
        set than the one that stands is refused unless `replace` is set.
        """
        suffix = ".xlsx" if request.headers.get("content-type", "").startswith(XLSX) else ".csv"
        return await node.card_keys.take_file(
            await request.body(),
            name=f"batch{suffix}",
            key_index=key_index,
            counter=counter,
            replace=replace,
            dry_run=dry_run,
        )
