"""The operator's node: one program for home, visited and service provider; roles are per request.

    landfall operator init --config bravo.toml --recovery-file /media/stick/bravo.json
    landfall serve --role operator                     → run(settings)

The API, all JSON, all with `Authorization: Bearer <staff.token>` but webhooks and health. Errors are RFC 9457 problems
with `code`; the ledger's own codes pass through. Amounts `_usdr` are micro-SDRt, `_minor` smallest units of the
currency, times milliseconds since the epoch. What needs the ledger, a card, an HLR or a payment is stored, answered
202 or 201, and done behind: read the thing again to see its state. The page at /docs has every field.

Node
    GET  /operator                         who it is, keys, `admitted`, `cursor`, `pending` messages
    GET  /tasks    POST /tasks/{position}/restart      work that waits or failed, and why
    GET  /outbox/{message id}              what the ledger answered to a message
    POST /keys/rotate {"purpose": "sign"|"seal"}
    GET  /balance                          {available, escrow, held}
    POST /redemptions {"amount_usdr", "payout"}        202 {id}; GET /outbox/{id} has the answer
    GET  /statement?from=2026-11-01&to=2026-12-01      lines by counterparty and role, sums, obligations

Visited, service provider
    POST /offers {"terms": Terms, "policy": "auto"|"hold", "supersedes"?}      state publishing → open | rejected
    GET  /offers    POST /offers/{id}/withdraw
    POST /profiles  (text/csv: imsi,k,opc,msisdn[,iccid,acc])     {imported, known};   GET /profiles?in_state=free
    POST /codes?offer={id}  (text, one a line)                    {imported};          or codes are made when needed
    POST /codes/redeem {"code"}                                   {request}: activates, and closes it
    POST /requests/{id}/accept             one that is held
    POST /requests/{id}/decline {"cause"}
    POST /usage {"batch": "file-17", "records": [{"imsi", "service": "data"|"voice"|"message", "start_ms", "units",
                 "place", "duration"?, "offset"?, "continues"?}]}      {stored, not_taken: [{record, cause}]}
    POST /usage/send                       report now;  GET /usage/{request} how far they are
    POST /requests/{id}/close              reports what there is, then closes; the profile is barred and quarantined
    POST /webhooks/registrations           from the network, signed: first registration → activate

Home
    GET  /market/offers?country=&plmn=&category=&service=&publisher=&max_price=&valid_at=     what the ledger shows
    POST /packages/preview, /packages {"name", "currency", "items": [{"offer", "days"?, "renewals"?, "escrow_usdr"?}],
                 one of "margin_percent": "25", "margin_minor", "retail_minor"; "round_to_minor"?, "description"?}
    GET  /packages    POST /packages/{id}/withdraw
    POST /subscribers {"name", "msisdn", "card": {"iccid", "kic"?, "kid"?, "key_index"?, "counter"?, "slots"?}}
    GET  /subscribers
    GET  /subscribers/{id}/card            where the card is reached now, by its own last report; its slots
    GET  /deliveries?iccid=&limit=         packets to cards: queued, sent, delivered, unknown, proven, failed; in words
    POST /ota/templates {"name", "commands", "parameters"?, "about"?}    GET /ota/templates[/{name}]
    POST /ota/jobs {"iccid", "commands" | "template", "values"? | "rotate_keys", "question"?, "valid_hours"?}   one card
    GET  /ota/jobs?iccid=&in_state=        queued, sent, delivered, unknown, then proven, failed, cancelled, expired
    GET  /ota/jobs/{id}    POST /ota/jobs/{id}/cancel
    POST /ota/campaigns {"name", "cards"?, "per_minute"?, "start"?, and what a job has}     GET /ota/campaigns
    POST /ota/campaigns/{id}/cards (text/csv: iccid[,parameter …])    …/start /pause /resume /cancel
    GET  /ota/campaigns/{id}    …/jobs?in_state=&after=    …/events (text/event-stream)
    POST /ota/keys/import?dry_run=&replace=&key_index=&counter= (CSV or XLSX as `landfall sim provision` reads it)
    POST /purchases {"subscriber", "package", "provider"?: "test"|"billing", "method"?}
    GET  /purchases?subscriber=    GET /purchases/{id}
         state paying → placed | refused; failed where the ledger rejected an item (its `cause` is the code, and what
         was paid for it is refunded). items[].state waiting → ordering → requested → accepted → delivered → active →
         closed, or declined, cancelled, expired, rejected; items[].code once an SP code is there
    POST /requests/{id}/cancel {"cause"}
    POST /webhooks/payments {"payment", "state": "paid"|"refused", "reference"?}      from billing, signed

Closing a period
    POST /closings {"period": "2026-10" | "2026-10-01/2026-10-15"} or {"from_ms", "to_ms"}   202; …/draft shows
    GET  /closings    GET /closings/{id}   steps and progress    GET /closings/{id}/documents
    GET  /documents    GET /documents/files/{name}      INV-2026-000001.en.pdf, a TAP file's name

Debts
    GET  /obligations?role=&state=    POST /obligations/{id}/pay {"amount_usdr"?}
    POST /invoices {"debtor", "amount_usdr", "due_ms", "document": SHA-256, "number"?}    202 {id};    GET /invoices
    POST /invoices/{id}/confirm {"document"?}    POST /invoices/{id}/refuse {"reason"?}
    GET  /netting?state=    POST /netting/{cycle}/consent    POST /netting/{cycle}/refuse {"reason"?}

Deals
    POST /deals/forecast?period= {"partner", "directions": [{"home", "terms", "revenue"?, "volumes"?, "credit_limit"?}],
                 "balanced"?, "starts", "ends", "months"?, …}    what it would cost on past use; POST /deals proposes
    GET  /deals?state=&partner=    GET /deals/{id} used against committed, credit    GET /deals/{id}/forecast?period=
    POST /deals/{id}/consent {"policy"?}    …/refuse {"reason"?}    …/settle {"period"?}

Staff and agreeing with partners (reconciliation, cases)
    POST /staff {"name"}                   {name, token}, with the node's own token; GET /staff, POST …/{name}/remove
    POST /reconciliations/files?name= (CSV or Parquet)            {digest};   …/own-records?name= takes own records in
    POST /reconciliations {"partner", "period", "ours"?: digest, "theirs"?: digest, "rules"?}     GET …/{id} …/{id}/page
    GET  /reconciliations/records?partner=&period=                what the ledger settled, as CSV, the same for both
    GET  /cases?partner=&state=&source=&run=    /cases/ageing    /cases/workbook    /cases/{id} with its history
    POST /cases/{id}/propose {"resolution", "reason", "text"?, "amount_usdr"?}   with a member's token, then, by another
    POST /cases/{id}/confirm {"text"?}     POST /cases/{id}/reopen {"text"}
    POST /meters/devices/{subscriber} {"key"}    POST /meters/readings (signed by the device, no token)   GET …/{id}
    POST /evidence/checks {"partner", "period"}                   findings, as cases;  PUT /evidence/limits/{offer}
    POST /disputes/of-case/{case} {"amount_usdr"?, "cause"?}      home, on the ledger;  GET /disputes?role=&state=
    POST /disputes/{id}/accept /reject /escalate /withdraw        body: what is shown;  GET /disputes/dossiers/{digest}

Both
    GET  /requests?role=&state=    GET /requests/{id}    GET /requests/{id}/ledger (as the ledger has it, with use)
    GET  /health/live /health/ready /metrics /docs
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from litestar import Litestar, Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.di import Provide
from litestar.handlers import BaseRouteHandler

from landfall.observability import configure_logging, measure_requests, observability_router
from landfall.serving import serve
from landfall.settings import Settings, read_settings
from marketplace.agreeing.controller import CaseController, ReconciliationController
from marketplace.agreeing.dispute_controller import DisputeController
from marketplace.agreeing.evidence_controller import EvidenceController, MeterController
from marketplace.campaigns.controller import CampaignController, JobController, TemplateController
from marketplace.card_keys.controller import CardKeyController
from marketplace.closing.controller import ClosingController, DocumentController
from marketplace.deals.controller import DealController
from marketplace.debts.controller import InvoiceController, NettingController, ObligationController
from marketplace.openapi import describe_api, static_files
from marketplace.operator_node import Node, open_node, prepare_database
from marketplace.operator_problems import HANDLERS, Refusal
from marketplace.operator_settings import read_operator_settings
from marketplace.packages.controller import PackageController
from marketplace.profiles.controller import CodeController, ProfileController
from marketplace.staff.controller import StaffController
from marketplace.statements.controller import OwnController, TreasuryController
from marketplace.storefront.controller import PaymentController, PurchaseController
from marketplace.subscribers.controller import SubscriberController
from marketplace.subscribers.deliveries import DeliveryController
from marketplace.usage.controller import UsageController
from marketplace.wholesale.controller import (
    BidRequestController,
    MarketController,
    OfferController,
    RegistrationController,
    RequestController,
)

MAX_BODY: Final = 1024 * 1024
"""Octets of a body, where a route does not say otherwise: an offer in sixteen languages has some 100 kB."""
_OPEN_PATHS: Final = ("/health", "/metrics", "/docs")


def create_app(settings: Settings | None = None) -> Litestar:
    """The application of one worker; settings are the environment's where none are given."""
    settings = settings or read_settings()
    configure_logging(settings.log_level, as_json=settings.log_json, node=read_operator_settings(settings.data_dir).id)

    @asynccontextmanager
    async def hold_node(app: Litestar) -> AsyncIterator[None]:
        async with open_node(settings) as node:
            app.state.node = node
            yield

    async def ping() -> None:
        node: Node = app.state.node
        await node.database.ping()

    app = Litestar(
        [
            OwnController,
            TreasuryController,
            OfferController,
            MarketController,
            BidRequestController,
            RequestController,
            RegistrationController,
            ProfileController,
            CodeController,
            UsageController,
            SubscriberController,
            DeliveryController,
            TemplateController,
            JobController,
            CampaignController,
            CardKeyController,
            PackageController,
            PurchaseController,
            PaymentController,
            ClosingController,
            DocumentController,
            ObligationController,
            InvoiceController,
            NettingController,
            DealController,
            StaffController,
            ReconciliationController,
            CaseController,
            DisputeController,
            MeterController,
            EvidenceController,
            static_files(),
            observability_router({"database": ping}),
        ],
        dependencies={
            "node": Provide(_provide_node, sync_to_thread=False),
            "by": Provide(_provide_caller, sync_to_thread=False),
        },
        exception_handlers=HANDLERS,
        guards=[require_staff],
        lifespan=[hold_node],
        logging_config=None,
        middleware=[measure_requests("operator")],
        openapi_config=describe_api("Landfall operator node", __doc__ or ""),
        request_max_body_size=MAX_BODY,
    )
    return app


def _provide_node(state: State) -> Node:
    node: Node = state.node
    return node


def _provide_caller(request: Request[Any, Any, Any]) -> str:
    """Whose token came with the request: the node's own, or a member of staff's."""
    return str(request.scope["state"]["by"])


async def require_staff(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Let staff in, by the token of the data folder or a member's own. Raises Refusal `unauthorized`."""
    if handler.opt.get("exclude_from_auth") or connection.scope["path"].startswith(_OPEN_PATHS):
        return
    node: Node = connection.app.state.node
    scheme, _, offered = connection.headers.get("authorization", "").partition(" ")
    by = await node.staff.identify(offered) if scheme.lower() == "bearer" else None
    if by is None:
        raise Refusal("unauthorized", "the staff token is missing or wrong")
    connection.scope["state"]["by"] = by


def run(settings: Settings) -> None:
    """Serve until told to stop. Raises LandfallError where `landfall operator init` has not been here."""
    own = read_operator_settings(settings.data_dir)
    configure_logging(settings.log_level, as_json=settings.log_json, node=own.id)
    settings.require_kek()
    prepare_database(settings)
    serve(f"{__name__}:create_app", settings, node=own.id)
