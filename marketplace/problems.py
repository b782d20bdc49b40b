"""The ledger's answers that are not "yes": RFC 9457 problem details with the codes of docs/rejections.md.

Whoever handles a request raises `ProblemError(code, detail)`; what Litestar raises itself is given a code here, and
what nobody foresaw becomes `internal`, with its traceback in the log and nowhere else.
"""

from typing import Any, Final, TypeVar

import asyncpg
import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from settlement.ledger.api import Problem
from settlement.ledger.rejections import CODES

PROBLEM_JSON: Final = "application/problem+json"
RETRY_AFTER_S: Final = "1"
"""The queue is about two seconds deep: after one there is room again."""

_CODE_OF_STATUS: Final = {
    401: "unauthorized",
    403: "not-permitted",
    404: "not-found",
    405: "not-found",
    413: "too-large",
    503: "overloaded",
}
"""Codes of what Litestar refuses by itself; other 4xx are `malformed`, 5xx `internal`."""

log = structlog.get_logger(__name__)

T = TypeVar("T")


class ProblemError(Exception):
    """Raised to refuse a request: `code` is one of docs/rejections.md, `detail` names the value."""

    def __init__(self, code: str, detail: str) -> None:
        assert code in CODES, f"{code} is not in the table of rejections"
        super().__init__(detail)
        self.code = code
        self.detail = detail


def require(found: T | None, what: str) -> T:
    """What was found; where nothing was, raises ProblemError `not-found`, which says that there is no `what`."""
    if found is None:
        raise ProblemError("not-found", f"there is no {what}")
    return found


def describe(code: str, detail: str, status: int | None = None) -> Problem:
    """The problem of a code; `status` where HTTP has a more exact one than the code."""
    known = CODES[code]
    return Problem(
        type=f"/docs/rejections#{code}",
        title=known.title,
        status=status or known.status,
        detail=detail,
        code=code,
        remedy=known.remedy,
    )


def respond(problem: Problem, headers: dict[str, str] | None = None) -> Response[bytes]:
    """A problem as the whole answer."""
    headers = dict(headers or {})
    if problem.status == 503:
        headers.setdefault("retry-after", RETRY_AFTER_S)
    if problem.status == 401:
        headers.setdefault("www-authenticate", "Bearer")
    return Response(msgspec.json.encode(problem), status_code=problem.status, media_type=PROBLEM_JSON, headers=headers)


def _answer_problem(_: Request[Any, Any, Any], error: ProblemError) -> Response[bytes]:
    return respond(describe(error.code, error.detail))


def _answer_http(_: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    status = error.status_code
    code = _CODE_OF_STATUS.get(status, "malformed" if status < 500 else "internal")
    return respond(describe(code, _detail(error), status), error.headers)


def _detail(error: HTTPException) -> str:
    faults = error.extra if isinstance(error, ValidationException) and isinstance(error.extra, list) else []
    named = [f"{fault.get('source', 'value')} {fault.get('key', '')}: {fault.get('message', '')}" for fault in faults]
    return "; ".join(named) or error.detail


def _answer_mistake(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    log.error("request failed", method=request.method, path=request.url.path, exc_info=error)
    return respond(describe("internal", f"{request.method} {request.url.path} failed; the log says why"))


def _answer_lost(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    log.warning("the database does not answer", method=request.method, path=request.url.path, why=str(error))
    return respond(describe("overloaded", "the ledger's database does not answer right now: send it again"))


EXCEPTION_HANDLERS: Final[dict[int | type[Exception], Any]] = {
    ProblemError: _answer_problem,
    HTTPException: _answer_http,
    ConnectionError: _answer_lost,
    asyncpg.PostgresConnectionError: _answer_lost,
    asyncpg.CannotConnectNowError: _answer_lost,
    Exception: _answer_mistake,
}
"""For the application; the nearest class of an exception's ancestry decides."""
