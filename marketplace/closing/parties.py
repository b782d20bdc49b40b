"""Who stands on documents: what operator.toml says of a company, and what the ledger says where it is silent."""

from collections.abc import Iterable

from marketplace.operator_settings import Company, OperatorSettings
from settlement.documents import Party
from settlement.ledger.client import LedgerClient
from settlement.ledger.state import Operator

UNSTATED = "not stated"


async def find_parties(
    own: OperatorSettings, ledger: LedgerClient, partners: Iterable[str]
) -> tuple[dict[str, Party], tuple[str, ...]]:
    """Parties by id, this operator too, and a note for the documents where legal data are missing.

    What is missing is not invented: a document says "not stated", and names the operator by its id on the ledger.
    """
    stated: dict[str, Company] = {partner.operator: partner for partner in own.partners}
    stated[own.id] = own.company
    parties = {}
    for operator in sorted({own.id, *partners}):
        row = await ledger.find_operator(operator)
        parties[operator] = make_party(row, stated.get(operator, Company()), ledger.origin)
    bare = sorted(operator for operator, party in parties.items() if UNSTATED in (party.street, party.city))
    if not bare:
        return parties, ()
    return parties, (f"Address and registration are not stated here of: {', '.join(bare)}.",)


def make_party(row: Operator, company: Company, origin: str) -> Party:
    """A document's party: the company's own words, then the ledger's."""
    fields = {name: getattr(company, name) for name in Company.__struct_fields__}
    named = company.vat_id or company.tax_number or company.register_id
    return Party(
        **fields
        | {
            "operator": row.id,
            "legal_name": company.legal_name or row.name,
            "street": company.street or UNSTATED,
            "city": company.city or UNSTATED,
            "country": row.country,
            "register_id": company.register_id if named else f"{row.id} on {origin}",
            "tadig": row.tadig or "",
        }
    )
