"""The neutral market's application: every route of the ledger's HTTP API, and how it is served.

`run(settings)` prepares what all workers share (database, keys, metrics folder) and starts them; each worker is a
process with its own `create_app()`, its own sequencer and its own connections, and they take turns at the database.
"""

import resource
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import structlog
from granian import Granian
from granian.constants import Interfaces, Loops
from granian.log import LogLevels
from litestar import Litestar
from litestar.datastructures import State
from litestar.di import Provide

from landfall.observability import configure_logging, measure_requests, observability_router, share_metrics
from landfall.settings import Settings, read_settings
from marketplace.access.controller import TokenController
from marketplace.accounts.controller import AccountController
from marketplace.ledger_node import LedgerNode, open_node
from marketplace.ledger_setup import open_keys, prepare_database, require_founded
from marketplace.log.controller import EntryController, PublicLogController
from marketplace.offers.controller import OfferController
from marketplace.openapi import describe_api, show_rejections, static_files
from marketplace.operators.controller import OperatorController
from marketplace.payloads.controller import PayloadController
from marketplace.problems import EXCEPTION_HANDLERS
from marketplace.requests.controller import RequestController
from marketplace.transactions.controller import TransactionController

MAX_BODY: Final = 1024 * 1024
"""Octets of a body, where a route does not say otherwise: a token request has some hundreds."""
STOP_S: Final = 3
"""What a worker is doing takes a fraction of this; followers of events would stay for ever, and come again.
Ending it is always safe: what is not durable was not acknowledged."""
AT_ONCE: Final = 4096
"""Requests in progress in one worker: a follower of events is one for as long as it follows."""
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
            RequestController,
            AccountController,
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


def _provide_node(state: State) -> LedgerNode:
    node: LedgerNode = state.node
    return node


def run(settings: Settings) -> None:
    """Serve until told to stop. Raises LandfallError where no ledger was founded or keys do not open."""
    configure_logging(settings.log_level, as_json=settings.log_json, node="ledger")
    _allow_connections()
    open_keys(settings)
    origin = require_founded(prepare_database(settings))
    share_metrics()
    port = settings.port or _free_port(settings.host)
    structlog.get_logger(__name__).info(
        "serving the ledger", origin=origin, url=f"http://{settings.host}:{port}", workers=settings.workers
    )
    Granian(
        f"{__name__}:create_app",
        factory=True,
        address=settings.host,
        port=port,
        interface=Interfaces.ASGI,
        loop=Loops.uvloop,
        workers=settings.workers,
        backlog=AT_ONCE,
        backpressure=AT_ONCE,
        websockets=False,
        respawn_failed_workers=True,
        respawn_interval=1.0,
        workers_kill_timeout=STOP_S,
        log_level=LogLevels(settings.log_level),
        log_dictconfig=_OUR_LOGS,
    ).serve()


def _allow_connections() -> None:
    """Take all the open files that this account may have: every connection is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _free_port(host: str) -> int:
    with socket.create_server((host, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


_OUR_LOGS: Final[dict[str, Any]] = {"formatters": {}, "handlers": {}, "loggers": {"_granian": {"propagate": True}}}
"""Granian's own logs go the way of all others."""
