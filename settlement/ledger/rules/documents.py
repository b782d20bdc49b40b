"""What is only recorded: documents by their digest, and statements of the deposits behind the SDRt."""

from settlement.ledger.rules.context import Context, Effects, Refused
from settlement.ledger.settling import AttestReserves, RecordDocument
from settlement.ledger.state import Attestation, Document, Operator


def record_document(context: Context, message: RecordDocument) -> Effects:
    """A digest, with whom it concerns; what the document says is between those who have it."""
    sender = context.sender.id
    if message.counterparty == sender:
        raise Refused("invalid-terms", "the counterparty of a document is somebody else, or nobody")
    if message.counterparty is not None and context.state.get(Operator, message.counterparty) is None:
        raise Refused("unknown-operator", f"there is no operator {message.counterparty}")
    if context.state.get(Document, message.id) is not None:
        raise Refused("already-exists", f"there is a document {message.id}")
    document = Document(
        id=message.id,
        sender=sender,
        counterparty=message.counterparty,
        kind=message.kind,
        digest=message.digest,
        period=message.period,
        recorded=context.time,
    )
    return Effects((document,), counterparty=message.counterparty)


def attest_reserves(context: Context, message: AttestReserves) -> Effects:
    """The issuer or an auditor states deposits. Too little is not refused: that it was stated is what audits show."""
    sender, ledger = context.sender, context.ledger
    if sender.id != ledger.issuer and sender.role != "auditor":
        raise Refused("not-permitted", f"{sender.id} is an {sender.role}: the issuer and auditors attest reserves")
    if message.as_of > context.time:
        raise Refused("invalid-terms", f"as_of is {message.as_of}, after now, {context.time}")
    if context.state.get(Attestation, message.id) is not None:
        raise Refused("already-exists", f"there is an attestation {message.id}")
    attestation = Attestation(
        id=message.id,
        attestor=sender.id,
        as_of=message.as_of,
        deposits=message.deposits,
        digest=message.digest,
        minted=ledger.minted,
        burned=ledger.burned,
        made=context.time,
    )
    return Effects((attestation,), counterparty=None if sender.id == ledger.issuer else ledger.issuer)
