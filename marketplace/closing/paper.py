"""One document that a closing issues, and what all documents of a closing share."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from uuid import UUID

from msgspec import Struct

from marketplace.closing.schemas import Span
from marketplace.operator_settings import ClosingSettings
from settlement.documents import Document, Format, Language, Party, Period, Rate
from settlement.ledger.state import Cycle, Dispute, Obligation


class Frame(Struct, frozen=True):
    """What all documents of a closing share. `parties` has everybody by id on the ledger, this operator too."""

    span: Span
    own: str
    parties: Mapping[str, Party]
    issued_on: date
    rate: Rate
    closing: ClosingSettings
    notes: tuple[str, ...] = ()

    @property
    def period(self) -> Period:
        """The days it has entries of."""
        return Period(first=self.span.first, last=self.span.last)

    @property
    def language(self) -> Language:
        """The language of what is said in it."""
        return self.closing.languages[0]

    @property
    def us(self) -> Party:
        """The operator that closes."""
        return self.parties[self.own]


Make = Callable[[Mapping[str, str]], Document]


class Paper(Struct, frozen=True):
    """One document to be issued. `amount_usdr`: what it comes to. `obligations`: those it invoices."""

    kind: str
    subject: str
    counterparty: str | None
    amount_usdr: int
    formats: tuple[Format, ...]
    make: Make
    obligations: tuple[UUID, ...] = ()


class Known(Struct, frozen=True):
    """What the ledger says now of what this operator owes, is owed, netted and disputed."""

    obligations: Sequence[Obligation]
    cycles: Mapping[UUID, Cycle]
    disputes: Mapping[UUID, Dispute]


def subject_of(span: Span, partner: str) -> str:
    """What a document is of; one of a kind and subject is issued."""
    return f"close:{span.id}:{partner}"
