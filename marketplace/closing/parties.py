"""Who stands on documents: what operator.toml says of a company, and what the ledger says where it is silent."""

from collections.abc import Iterable

from marketplace.closing.words import say
from marketplace.operator_settings import Company, OperatorSettings
from settlement.documents import Language, Party
from settlement.ledger.client import LedgerClient
from settlement.ledger.state import Operator


async def find_parties(
    own: OperatorSettings, ledger: LedgerClient, partners: Iterable[str]
) -> tuple[dict[str, Party], tuple[str, ...]]:
    """Parties by id, this operator too, and a note for the documents where legal data are missing.

    What is missing is not invented: a document says "not stated", and names the operator by its id on the ledger.
    """
    stated: dict[str, Company] = {partner.operator: partner for partner in own.partners}
    stated[own.id] = own.company
    parties, bare = {}, []
    language = own.closing.languages[0]
    for operator in sorted({own.id, *partners}):
        row = await ledger.find_operator(operator)
        company = stated.get(operator, Company())
        parties[operator] = make_party(row, company, ledger.origin, language)
        if not (company.street and company.city):
            bare.append(operator)
    if not bare:
        return parties, ()
    return parties, (say(language, "unstated", names=", ".join(bare)),)


def make_party(row: Operator, company: Company, origin: str, language: Language) -> Party:
    """A document's party: the company's own words, then the ledger's."""
    fields = {name: getattr(company, name) for name in Company.__struct_fields__}
    named = company.vat_id or company.tax_number or company.register_id
    return Party(
        **fields
        | {
            "operator": row.id,
            "legal_name": company.legal_name or row.name,
            "street": company.street or say(language, "not-stated"),
            "city": company.city or say(language, "not-stated"),
            "country": row.country,
            "register_id": company.register_id if named else say(language, "reg", operator=row.id, origin=origin),
            "tadig": row.tadig or "",
        }
    )
