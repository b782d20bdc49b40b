"""Serve an ASGI application by worker processes until told to stop.

    serve("marketplace.ledger_app:create_app", settings, node="ledger")

Each worker is a process of its own that calls the factory, which ends with `spare_collector()`; they share the port. A
worker that dies is started again; where one dies again within seconds the whole program ends, so that a service manager
sees it and nothing half-works.
"""

import gc
import resource
import socket
from typing import Any, Final

import structlog
from granian import Granian
from granian.constants import Interfaces, Loops
from granian.log import LogLevels

from landfall.observability import share_metrics
from landfall.settings import Settings

STOP_S: Final = 3
"""Time that a worker has to finish what it has; followers of events would stay for ever."""
RESPAWN_S: Final = 1.0
AT_ONCE: Final = 4096
"""Requests in progress in one worker: a follower of events is one for as long as it follows."""
YOUNG: Final = 100_000
"""Objects made and not yet gone before the collector looks for cycles among them. Python's 700 is less than one batch
in progress has, so that a worker looked through everything some times a second: an eighth of its time."""
_OUR_LOGS: Final[dict[str, Any]] = {"formatters": {}, "handlers": {}, "loggers": {"_granian": {"propagate": True}}}
"""Granian's own logs go the way of all others."""


def serve(factory: str, settings: Settings, *, node: str) -> None:
    """Serve what `module:function` makes where the settings say; `node` names it in the log."""
    _allow_connections()
    share_metrics()
    port = settings.port or _free_port(settings.host)
    structlog.get_logger(__name__).info(
        "serving", node=node, url=f"http://{settings.host}:{port}", workers=settings.workers
    )
    Granian(
        factory,
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
        respawn_interval=RESPAWN_S,
        workers_kill_timeout=STOP_S,
        log_level=LogLevels(settings.log_level),
        log_dictconfig=_OUR_LOGS,
    ).serve()


def spare_collector() -> None:
    """Keep the cycle collector from what a worker has loaded, and from what is only on its way through."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG)


def _allow_connections() -> None:
    """Take all the open files that this account may have: every connection is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _free_port(host: str) -> int:
    with socket.create_server((host, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
