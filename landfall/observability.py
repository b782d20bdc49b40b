"""Logs, metrics and health of one process.

    configure_logging(settings.log_level, as_json=settings.log_json, node="ledger")
    share_metrics()                                        # only where several workers answer on one port
    app = Litestar([…, observability_router({"database": pool.ping})], middleware=[measure_requests("ledger")],
                   logging_config=None)

Logs are structlog events on standard error, one JSON object a line or coloured for a terminal; what libraries log
through the standard `logging` goes the same way, and everything passes `landfall.redaction` last. Metrics are plain
`prometheus_client` counters and histograms, declared beside what they count. `/health/live` says that the process runs,
`/health/ready` that what it depends on answers, `/metrics` the rest.
"""

import asyncio
import atexit
import logging
import multiprocessing
import os
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import structlog
from litestar import Response, Router, get
from litestar.middleware.base import DefineMiddleware
from litestar.plugins.prometheus import PrometheusConfig, PrometheusController
from litestar.status_codes import HTTP_200_OK, HTTP_503_SERVICE_UNAVAILABLE

from landfall.redaction import redact
from landfall.settings import LogLevel

CHECK_TIMEOUT_S: Final = 3.0
"""An orchestrator asks every 10 s as a rule; a dependency that takes longer than this is not ready."""

Check = Callable[[], Awaitable[object]]
"""Returns where the dependency answers, raises where it does not."""


class Health(msgspec.Struct, frozen=True):
    """Answer of `/health/live` and `/health/ready`; `checks` names each dependency and `ok` or what went wrong."""

    status: Literal["ok", "unavailable"]
    checks: dict[str, str] = {}


def configure_logging(level: LogLevel = "info", *, as_json: bool = True, node: str = "") -> None:
    """Send all logs of this process to standard error; `node` is said in every line. May be called again."""
    prepare: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        *([_name_node(node)] if node else []),
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *prepare, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    render = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*prepare[:3], structlog.stdlib.ExtraAdder(), *prepare[3:]],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, redact, render],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    # A line for each request our own client sends, with its URL, helps nobody.
    for chatty in ("httpx", "httpcore", "asyncio"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))


def _name_node(node: str) -> structlog.typing.Processor:
    def add(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        return {"node": node, **event}

    return add


def share_metrics() -> Path:
    """Let the workers that this process is about to start keep their metrics in one place, and return that folder.

    Each worker then writes its own file and any of them answers `/metrics` for all. The workers must be started afresh,
    not forked: the library chooses where a metric lives when it is declared.
    """
    folder = tempfile.mkdtemp(prefix="landfall-metrics-")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
    multiprocessing.set_start_method("spawn", force=True)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def measure_requests(app_name: str) -> DefineMiddleware:
    """Return the middleware that counts and times requests by route template, as `landfall_request…`."""
    return PrometheusConfig(app_name=app_name, prefix="landfall", group_path=True).middleware


def observability_router(checks: Mapping[str, Check]) -> Router:
    """Return the routes `/health/live`, `/health/ready` and `/metrics`.

    `checks` names what the process cannot work without. Ready is 200 where all of them return within
    `CHECK_TIMEOUT_S`, else 503; the body names each. Reasons are types of errors, not their text, which could tell
    a stranger too much: the text is in the log.
    """

    @get("/health/live", exclude_from_auth=True)
    async def live() -> Health:
        """Say that the process runs."""
        return Health("ok")

    @get("/health/ready", exclude_from_auth=True)
    async def ready() -> Response[Health]:
        """Say whether everything this process depends on answers."""
        results = await asyncio.gather(*(_run_check(name, check) for name, check in checks.items()))
        found = dict(zip(checks, results, strict=True))
        healthy = all(result == "ok" for result in results)
        health = Health("ok" if healthy else "unavailable", found)
        return Response(health, status_code=HTTP_200_OK if healthy else HTTP_503_SERVICE_UNAVAILABLE)

    return Router(
        "/",
        route_handlers=[live, ready, PrometheusController],
        tags=["health"],
        opt={"exclude_from_auth": True},
        include_in_schema=False,
    )


async def _run_check(name: str, check: Check) -> str:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            await check()
    except Exception as error:
        structlog.get_logger(__name__).warning("readiness check failed", check=name, exc_info=error)
        return type(error).__name__
    return "ok"
