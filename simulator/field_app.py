"""The field over loopback HTTP: how operator nodes, each its own process, reach phones and visited networks.

`create_field_app(field, …)` makes a Litestar application; `serve_field(app, host, port)` serves it in the running event
loop, beside the `Field` whose phones and networks live in the same process. All bodies are JSON, all binary values hex.
Errors are RFC 9457 `application/problem+json`: `{"type", "title", "status", "detail", "code"}`; the codes stand below.
`{plmn}` is MCC and MNC in 5 or 6 digits without a dash, e.g. `26201`; `{imsi}` and `{iccid}` are digits.

**Carrier** of the home operator's OTA platform; bearer: the carrier secret.

    POST /sms/{iccid}
    {"tpdus": ["400881214365877ff6…", …]}     SMS-DELIVER TPDUs (TS 23.040), all parts of one packet, in any order
    200 {"responses": ["027100…", "", …],     one a TPDU: user data of the delivery report (TS 31.115: 02 71 00, then
                                              the response packet), "" where the card said nothing, as to all parts
                                              but the one that completes the packet
         "submitted": ["…", …]}               SMS-SUBMIT TPDUs the card sent meanwhile (proof of receipt in submit)
    401 unauthorized
    404 unknown-iccid        no phone has that card
    409 absent-subscriber    phone off or without service: nothing reached the card; send *the same bytes* again later
    422 invalid-request      the body is not as above
    502 card-refused         the card answered an ENVELOPE with an error status word, which detail names

**HLR** of a visited network; bearer: that network's own secret. 401 unauthorized, also for an unknown network.

    PUT /networks/{plmn}/subscribers/{imsi}
    {"k": "32 hex digits", "opc": "32 hex digits", "msisdn": "491701234567" or null, "algorithm": "milenage"}
    204                      provisioned; the same body again is 204 too
    409 imsi-in-use          that IMSI is there with another K or OPc
    422 invalid-subscriber   detail says which value and why, never the value of a key

    POST /networks/{plmn}/subscribers/{imsi}/bar      (no body)
    204                      barred: its phone is cut off at once and refused with cause 13 from then on
    404 unknown-imsi

    DELETE /networks/{plmn}/subscribers/{imsi}
    204                      gone, its K with it; also when it was not there

**First registration** of an IMSI in a network is told once to the node that owns the network, at its `webhook_url`:

    POST <webhook_url>
    content-type: application/json
    webhook-id: <UUID>                             the same in each try
    webhook-timestamp: <seconds since the epoch>
    webhook-signature: v1,<base64 of HMAC-SHA256(webhook_secret as UTF-8, id + "." + timestamp + "." + body)>
    {"plmn": "26201", "imsi": "262011234567890", "time_ms": 1767225600000}

2xx ends it; anything else is tried again after the pauses of `simulator.webhook`.
"""

from __future__ import annotations

import asyncio
import hmac
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from granian.constants import Interfaces
from granian.server.embed import Server
from litestar import Litestar, Request, Response, delete, post, put
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.di import NamedDependency, Provide
from litestar.exceptions import HTTPException
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, JSONBody

from simulator.field import AbsentSubscriberError, CardRefusedError, Field
from simulator.hlr import HlrRefusalError, SubscriberConflictError
from simulator.network import Network
from simulator.webhook import Webhooks

# It listens within a second, on a machine full of tests within ten; what stays dead longer is taken or forbidden.
LISTEN_TIMEOUT_S = 60.0


class NetworkAccess(msgspec.Struct, frozen=True):
    """How the node that owns a network comes in, and where it is told of registrations (None: nowhere)."""

    secret: str
    webhook_url: str | None = None
    webhook_secret: str = ""

    def __repr__(self) -> str:
        return f"NetworkAccess(webhook_url={self.webhook_url!r})"


class SmsBody(msgspec.Struct, forbid_unknown_fields=True):
    """TPDUs to a card, hex."""

    tpdus: list[str]


class SmsResult(msgspec.Struct):
    """What the card said, hex."""

    responses: list[str]
    submitted: list[str]


class SubscriberBody(msgspec.Struct, forbid_unknown_fields=True):
    """A subscriber to provision; keys in hex."""

    k: str
    opc: str
    msisdn: str | None = None
    algorithm: str = "milenage"

    def __repr__(self) -> str:
        return f"SubscriberBody(algorithm={self.algorithm!r})"


class Problem(Exception):  # noqa: N818 - it is the problem of RFC 9457, not a fault of ours
    """An answer of RFC 9457."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail


class Gate:
    """The field as the handlers see it, with who may come in."""

    def __init__(self, field: Field, carrier_secret: str, access: Mapping[str, NetworkAccess]) -> None:
        self.field, self._carrier_secret, self._access = field, carrier_secret, access

    def check_carrier(self, token: str) -> None:
        """Let the OTA carrier in, or raise 401."""
        _check(token, self._carrier_secret)

    def check_network(self, plmn: str, token: str) -> None:
        """Let the owner of a network in, or raise 401."""
        access = self._access.get(plmn)
        _check(token, access.secret if access and plmn in self.field.networks else None)

    def notify(self, webhooks: Webhooks, network: Network) -> None:
        """Tell the owner of `network` about first registrations from now on."""

        def tell(imsi: str, time_ms: int) -> None:
            access = self._access.get(network.plmn)
            if access and access.webhook_url:
                body = msgspec.json.encode({"plmn": network.plmn, "imsi": imsi, "time_ms": time_ms})
                webhooks.send(access.webhook_url, access.webhook_secret, str(uuid.uuid4()), body)

        network.on_registered(tell)


def require_carrier(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Guard of the SMS carrier."""
    gate: Gate = connection.app.state.gate
    gate.check_carrier(_bearer(connection))


def require_owner(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Guard of one network's HLR."""
    gate: Gate = connection.app.state.gate
    gate.check_network(connection.path_params["plmn"], _bearer(connection))


@post("/sms/{iccid:str}", guards=[require_carrier], status_code=200)
async def send_sms(iccid: FromPath[str], data: JSONBody[SmsBody], gate: NamedDependency[Gate]) -> SmsResult:
    """Carry SMS-DELIVER TPDUs to a card and bring back what it says."""
    phone = gate.field.phones.get(iccid)
    if phone is None:
        raise Problem(404, "unknown-iccid", f"no phone has the card {iccid}")
    try:
        tpdus = [bytes.fromhex(tpdu) for tpdu in data.tpdus]
    except ValueError:
        raise Problem(422, "invalid-request", "tpdus must be hex strings") from None
    try:
        answer = await phone.receive_sms(tpdus)
    except AbsentSubscriberError as error:
        raise Problem(409, "absent-subscriber", str(error)) from None
    except CardRefusedError as error:
        raise Problem(502, "card-refused", str(error)) from None
    return SmsResult([raw.hex() for raw in answer.responses], [raw.hex() for raw in answer.submitted])


@put("/networks/{plmn:str}/subscribers/{imsi:str}", guards=[require_owner], status_code=204)
async def provision_subscriber(
    plmn: FromPath[str], imsi: FromPath[str], data: JSONBody[SubscriberBody], gate: NamedDependency[Gate]
) -> None:
    """Provision a subscriber in a network's HLR."""
    try:
        k, opc = bytes.fromhex(data.k), bytes.fromhex(data.opc)
    except ValueError:
        raise Problem(422, "invalid-subscriber", "k and opc must be hex strings") from None
    try:
        await gate.field.networks[plmn].provision(imsi, k=k, opc=opc, algorithm=data.algorithm, msisdn=data.msisdn)
    except SubscriberConflictError as error:
        raise Problem(409, "imsi-in-use", str(error)) from None
    except ValueError as error:
        raise Problem(422, "invalid-subscriber", str(error)) from None


@post("/networks/{plmn:str}/subscribers/{imsi:str}/bar", guards=[require_owner], status_code=204)
async def bar_subscriber(plmn: FromPath[str], imsi: FromPath[str], gate: NamedDependency[Gate]) -> None:
    """Bar a subscriber and cut its phone off."""
    try:
        await gate.field.networks[plmn].bar(imsi)
    except HlrRefusalError as error:
        raise Problem(404, "unknown-imsi", str(error)) from None


@delete("/networks/{plmn:str}/subscribers/{imsi:str}", guards=[require_owner])
async def delete_subscriber(plmn: FromPath[str], imsi: FromPath[str], gate: NamedDependency[Gate]) -> None:
    """Delete a subscriber and cut its phone off."""
    await gate.field.networks[plmn].delete(imsi)


def create_field_app(field: Field, *, carrier_secret: str, access: Mapping[str, NetworkAccess]) -> Litestar:
    """The application for `field` as it is now: networks put on the air later send no webhooks.

    `access` has an entry for each network (by PLMN) that an operator node owns; it is read at each use, so an entry
    may be replaced while the application runs.
    """
    gate = Gate(field, carrier_secret, access)

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        webhooks = Webhooks()
        for network in field.networks.values():
            gate.notify(webhooks, network)
        try:
            yield
        finally:
            await webhooks.close()

    return Litestar(
        route_handlers=[send_sms, provision_subscriber, bar_subscriber, delete_subscriber],
        dependencies={"gate": Provide(lambda: gate, sync_to_thread=False)},
        exception_handlers={Problem: _answer_problem, HTTPException: _answer_http},
        state=State({"gate": gate}),
        lifespan=[lifespan],
        openapi_config=None,
    )


@asynccontextmanager
async def serve_field(app: Litestar, host: str, port: int) -> AsyncIterator[str]:
    """Serve `app` in the running event loop; gives the base URL once it answers. `OSError` when it cannot listen."""
    server = Server(app, address=host, port=port, interface=Interfaces.ASGI, log_enabled=False)
    task = asyncio.create_task(server.serve())
    try:
        await _wait_for_port(task, host, port)
        yield f"http://{host}:{port}"
    finally:
        server.stop()  # type: ignore[no-untyped-call]
        await asyncio.gather(task, return_exceptions=True)


async def _wait_for_port(task: asyncio.Task[None], host: str, port: int) -> None:
    async with asyncio.timeout(LISTEN_TIMEOUT_S):
        while not task.done():
            try:
                _, writer = await asyncio.open_connection(host, port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                await asyncio.sleep(0)
                if not task.done():  # else it was somebody else's server that answered
                    return
    task.result()
    raise OSError(f"the field cannot listen on {host}:{port}")


def _bearer(connection: ASGIConnection[Any, Any, Any, Any]) -> str:
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    return token if scheme.lower() == "bearer" else ""


def _check(token: str, secret: str | None) -> None:
    if not secret or not hmac.compare_digest(token.encode(), secret.encode()):
        raise Problem(401, "unauthorized", "this needs `Authorization: Bearer` with the secret configured for it")


def _answer_problem(_: Request[Any, Any, Any], problem: Problem) -> Response[dict[str, object]]:
    return Response(
        {
            "type": f"urn:landfall:field:{problem.code}",
            "title": problem.code.replace("-", " "),
            "status": problem.status,
            "detail": problem.detail,
            "code": problem.code,
        },
        status_code=problem.status,
        media_type="application/problem+json",
    )


def _answer_http(request: Request[Any, Any, Any], error: HTTPException) -> Response[dict[str, object]]:
    """Litestar's own refusals: a body that does not decode is 400 there, 422 here; nothing of it is repeated."""
    if error.status_code == 400:
        return _answer_problem(request, Problem(422, "invalid-request", "the body is not what this address takes"))
    code = {404: "not-found", 405: "method-not-allowed"}.get(error.status_code, "request-refused")
    return _answer_problem(request, Problem(error.status_code, code, error.detail))
