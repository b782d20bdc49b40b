"""What the node's API answers when it cannot do what was asked: RFC 9457 problems with a code and a remedy.

The codes are the ledger's (docs/rejections.md) where the ledger said no, else those of `CODES` here.
"""

from http import HTTPStatus
from typing import Any, Final

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from landfall.errors import LandfallError
from settlement.ledger import rejections
from settlement.ledger.api import Problem
from settlement.ledger.client import Rejected, Unreachable
from settlement.sdr import RateError

CODES: Final[dict[str, tuple[int, str]]] = {
    "unauthorized": (401, "Send the staff token as Authorization: Bearer …; it is in staff.token of the data folder."),
    "bad-signature": (401, "Sign id.timestamp.body with the shared secret (Standard Webhooks)."),
    "not-permitted": (403, "Use the token of whoever may do this."),
    "four-eyes": (403, "Have another member of staff confirm it, with a token of their own."),
    "not-found": (404, "Check the id."),
    "wrong-state": (409, "Read its state; see the node's API page for what follows what."),
    "already-exists": (409, "Choose another, or read the one there is."),
    "invalid": (422, "Mend what the detail names."),
    "payment-refused": (402, "Choose another way to pay."),
    "no-rates": (503, "Give rates of the day in the file that `rates` of the node's configuration names."),
    "ledger-unreachable": (503, "The ledger does not answer; what was stored is sent when it does."),
}


class Refusal(LandfallError):  # noqa: N818 - what it is
    """The node does not do what was asked; `code` is one of `CODES`."""

    def __init__(self, code: str, detail: str) -> None:
        assert code in CODES, code
        super().__init__(detail)
        self.code = code
        self.detail = detail


def _respond(status: int, code: str, detail: str, remedy: str = "") -> Response[bytes]:
    problem = Problem(
        type=f"about:blank#{code}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        code=code,
        remedy=remedy,
    )
    headers = {"www-authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else None
    content = msgspec.json.encode(problem)
    return Response(content, status_code=status, media_type="application/problem+json", headers=headers)


def _refusal(_: Request[Any, Any, Any], error: Refusal) -> Response[bytes]:
    status, remedy = CODES[error.code]
    return _respond(status, error.code, error.detail, remedy)


def _rejected(_: Request[Any, Any, Any], error: Rejected) -> Response[bytes]:
    known = rejections.CODES.get(error.rejection.code)
    status = known.status if known and known.status >= 400 else 502
    return _respond(status, error.rejection.code, error.rejection.detail, known.remedy if known else "")


def _unreachable(_: Request[Any, Any, Any], error: Unreachable) -> Response[bytes]:
    return _respond(503, "ledger-unreachable", str(error), CODES["ledger-unreachable"][1])


def _no_rates(_: Request[Any, Any, Any], error: RateError) -> Response[bytes]:
    status, remedy = CODES["no-rates"]
    return _respond(status, "no-rates", str(error), remedy)


def _person(_: Request[Any, Any, Any], error: LandfallError) -> Response[bytes]:
    return _respond(422, "invalid", str(error), CODES["invalid"][1])


def _http(_: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    detail = error.detail
    if isinstance(error, ValidationException) and error.extra:
        detail = f"{detail} {error.extra}"
    code = {401: "unauthorized", 404: "not-found"}.get(error.status_code, "invalid")
    return _respond(error.status_code, code, detail, CODES[code][1])


def _ours(_: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    structlog.get_logger(__name__).error("request failed", exc_info=error)
    return _respond(500, "internal", "our own mistake; the log has it")


HANDLERS: Final[dict[int | type[Exception], Any]] = {
    Refusal: _refusal,
    Rejected: _rejected,
    Unreachable: _unreachable,
    RateError: _no_rates,
    LandfallError: _person,
    HTTPException: _http,
    Exception: _ours,
}
