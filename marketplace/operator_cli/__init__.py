"""`landfall operator …`: what an operator's staff do, from making the node to reading its statement.

All but `init` and `secret` go through the node's own HTTP API, so they work beside it and from elsewhere:
LANDFALL_OPERATOR_URL (default: the settings' host and port) and the staff token of the data folder
(or LANDFALL_OPERATOR_TOKEN) say where and who.
"""

import typer

from marketplace.operator_cli import (
    agreeing,
    buying,
    deals,
    disputes,
    evidence,
    node,
    ota,
    requests,
    selling,
    settling,
    staff,
)
from marketplace.operator_cli.calling import read_amount

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", help=__doc__, add_completion=False)
app.add_typer(node.app)
app.add_typer(node.tasks, name="tasks")
app.add_typer(selling.offers, name="offers")
app.add_typer(selling.bids, name="bids")
app.add_typer(selling.profiles, name="profiles")
app.add_typer(selling.codes, name="codes")
app.add_typer(selling.usage, name="usage")
app.add_typer(requests.requests, name="requests")
app.add_typer(buying.packages, name="packages")
app.add_typer(buying.subscribers, name="subscribers")
app.add_typer(buying.app)
app.add_typer(ota.app, name="ota")
app.add_typer(settling.documents, name="documents")
app.add_typer(settling.obligations, name="obligations")
app.add_typer(settling.invoices, name="invoices")
app.add_typer(settling.netting, name="netting")
app.add_typer(deals.deals, name="deals")
app.add_typer(staff.staff, name="staff")
app.add_typer(agreeing.app)
app.add_typer(agreeing.records, name="records")
app.add_typer(agreeing.cases, name="cases")
app.add_typer(disputes.disputes, name="disputes")
app.add_typer(evidence.evidence, name="evidence")
app.add_typer(evidence.meter, name="meter")

__all__ = ["app", "read_amount"]
