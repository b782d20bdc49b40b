"""The neutral market's application: every route of the ledger's HTTP API, and how it is served.

`run(settings)` prepares what all workers share (database, keys, metrics folder) and starts them; each worker is a
process with its own `create_app()`, its own sequencer and its own connections, and they take turns at the database.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from litestar import Litestar
from litestar.datastructures import State
from litestar.di import Provide

from landfall.observability import configure_logging, measure_requests, observability_router
from landfall.serving import serve, spare_collector
from landfall.settings import Settings, read_settings
from marketplace.access.controller import TokenController
from marketplace.accounts.controller import AccountController
from marketplace.bids.controller import BidRequestController
from marketplace.ledger_node import LedgerNode, open_node
from marketplace.ledger_setup import open_keys, prepare_database, require_founded
from marketplace.log.controller import EntryController, PublicLogController
from marketplace.offers.controller import OfferController
from marketplace.openapi import describe_api, show_rejections, static_files
from marketplace.operators.controller import OperatorController
from marketplace.payloads.controller import PayloadController
from marketplace.problems import EXCEPTION_HANDLERS
from marketplace.requests.controller import RequestController
from marketplace.settling.controller import (
    CycleController,
    DealController,
    DisputeController,
    ObligationController,
    ProposalController,
)
from marketplace.settling.documents import DocumentController
from marketplace.transactions.controller import TransactionController

MAX_BODY: Final = 1024 * 1024
"""Octets of a body, where a route does not say otherwise: a token request has some hundreds."""
DESCRIPTION: Final = """
The neutral ledger of a roaming marketplace. Whatever changes shared state is a signed envelope to `/v1/transactions`;
everything else reads. Amounts are micro-SDRt, times milliseconds since the epoch, hashes lower-case hex.
Every answer that is not "yes" is an RFC 9457 problem with a `code` of [the table](/docs/rejections).
"""


def create_app(settings: Settings | None = None) -> Litestar:
    """The application of one worker; settings are the environment's where none are given."""
    settings = settings or read_settings()
    configure_logging(settings.log_level, as_json=settings.log_json, node="ledger")

    @asynccontextmanager
    async def hold_node(app: Litestar) -> AsyncIterator[None]:
        async with open_node(settings) as node:
            app.state.node = node
            yield

    async def ping() -> None:
        node: LedgerNode = app.state.node
        await node.ping()

    app = Litestar(
        [
            TransactionController,
            TokenController,
            PublicLogController,
            EntryController,
            OperatorController,
            OfferController,
            BidRequestController,
            RequestController,
            AccountController,
            ProposalController,
            ObligationController,
            CycleController,
            DisputeController,
            DealController,
            DocumentController,
            PayloadController,
            show_rejections,
            static_files(),
            observability_router({"ledger": ping}),
        ],
        dependencies={"node": Provide(_provide_node, sync_to_thread=False)},
        exception_handlers=EXCEPTION_HANDLERS,
        lifespan=[hold_node],
        logging_config=None,
        middleware=[measure_requests("ledger")],
        openapi_config=describe_api("Landfall ledger", DESCRIPTION),
        request_max_body_size=MAX_BODY,
    )
    return app


def create_worker() -> Litestar:
    """The application in a process that does nothing else."""
    app = create_app()
    spare_collector()
    return app


def _provide_node(state: State) -> LedgerNode:
    node: LedgerNode = state.node
    return node


def run(settings: Settings) -> None:
    """Serve until told to stop. Raises LandfallError where no ledger was founded or keys do not open."""
    configure_logging(settings.log_level, as_json=settings.log_json, node="ledger")
    open_keys(settings)
    origin = require_founded(prepare_database(settings))
    serve(f"{__name__}:create_worker", settings, node=f"ledger {origin}")
