"""The operator on the ledger: its keys made known, rotated; its balance; SDRt redeemed."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from marketplace.ledger_link.keys import OperatorKeys
from marketplace.ledger_link.outbox import Outbox, now_ms
from marketplace.operator_database import Database
from settlement.ledger.api import Receipt
from settlement.ledger.client import LedgerClient
from settlement.ledger.keys import prove_possession, to_base64url
from settlement.ledger.messages import AddKey, Message, Redeem, Reference
from settlement.ledger.rejections import Rejection
from settlement.money import MAX_AMOUNT

OVERLAP_MS = 24 * 3_600_000
"""How long a replaced key stays valid: envelopes under way, and payloads being sealed, come to their end."""


class NewRedemption(Struct, frozen=True, forbid_unknown_fields=True):
    """SDRt to be paid out by the issuer: `payout` is where to, as the issuer's contract says."""

    amount_usdr: Annotated[int, Meta(ge=1, le=MAX_AMOUNT)]
    payout: Reference


class Rotation(Struct, frozen=True, forbid_unknown_fields=True):
    """Which key to replace."""

    purpose: Literal["sign", "seal"]


class KeyView(Struct, frozen=True):
    """A key that is being introduced or in use: its id on the ledger."""

    purpose: Literal["sign", "seal"]
    kid: str


class Membership:
    """The operator's own affairs on the ledger."""

    def __init__(self, database: Database, ledger: LedgerClient, outbox: Outbox, keys: OperatorKeys) -> None:
        self._database = database
        self._ledger = ledger
        self._outbox = outbox
        self._keys = keys
        outbox.on_answer(AddKey, self._see_key)

    async def introduce(self) -> None:
        """Have the ledger know the sealing key in use; once."""
        public = self._keys.seal_key().public_key()
        message = self._ledger.make(AddKey, purpose="seal", key=to_base64url(public.to_bytes()))
        async with self._database.begin() as connection:
            await self._outbox.enqueue(connection, message, subject=public.key_id)

    async def rotate(self, purpose: Literal["sign", "seal"]) -> KeyView:
        """Replace a key; the old one goes on for OVERLAP_MS. A new signing key signs once the ledger has it."""
        if purpose == "seal":
            old = self._keys.seal_key().public_key().key_id
            public = self._keys.create_seal().public_key()
            kid, key, proof = public.key_id, to_base64url(public.to_bytes()), None
        else:
            old = self._keys.signer().kid
            signer = self._keys.create_next_signer()
            kid, key = signer.kid, to_base64url(signer.public)
            proof = prove_possession(signer.key, self._ledger.origin, self._ledger.operator)
        message = self._ledger.make(
            AddKey, purpose=purpose, key=key, proof=proof, replaces=old, until=now_ms() + OVERLAP_MS
        )
        async with self._database.begin() as connection:
            await self._outbox.enqueue(connection, message, subject=kid)
        return KeyView(purpose, kid)

    async def _see_key(self, _: AsyncConnection, subject: str, message: Message, answer: Receipt | Rejection) -> None:
        assert isinstance(message, AddKey)
        if message.purpose == "sign" and isinstance(answer, Receipt):
            self._ledger.signer = self._keys.promote(subject)

    async def redeem(self, new: NewRedemption) -> UUID:
        """Ask the issuer for money back; the redemption's id. The ledger's answer stands in the outbox."""
        message = self._ledger.make(Redeem, amount=new.amount_usdr, payout=new.payout)
        async with self._database.begin() as connection:
            await self._outbox.enqueue(connection, message, subject=str(message.id))
        return message.id
