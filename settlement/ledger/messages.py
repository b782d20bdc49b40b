"""Messages: what an envelope says. One tagged struct a message; `docs/protocol.md` tells when each may be said.

Every message carries `id` (UUIDv7, unique per sender), `aud` (the log's origin) and `exp` (milliseconds since the
epoch, not accepted at or after). A thing that lives on (offer, request, redemption) bears the id of the message that
made it. Field bounds are part of the protocol: what does not decode is refused as `malformed`.
"""

from typing import Annotated, Final, Literal
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from settlement.usage.tariff import Amount, Interval, Tariff, Units

MAX_ENVELOPE: Final = 65_535
"""Octets of one envelope with its time: the bound of an entry in a C2SP entry bundle (uint16 length)."""
MAX_RECORDS: Final = 2_000
"""Records of a group; an entry holds some 600."""
MAX_TIME: Final = 253_402_300_799_999
"""9999-12-31T23:59:59.999Z in milliseconds: what every calendar library can still show."""


def spelt(pattern: str, *, max_length: int | None = None) -> Meta:
    """Text that `pattern` describes from end to end: `$` alone would let a last newline through."""
    meta: Meta = Meta(pattern=rf"^(?:{pattern})$(?!\n)", max_length=max_length)
    return meta


Time = Annotated[int, Meta(ge=0, le=MAX_TIME, description="milliseconds since 1970-01-01T00:00:00Z")]
OperatorId = Annotated[str, spelt("[a-z][a-z0-9-]{1,30}[a-z0-9]")]
Thumbprint = Annotated[str, spelt("[A-Za-z0-9_-]{43}"), Meta(description="base64url SHA-256, no padding")]
Digest = Annotated[str, spelt("[0-9a-f]{64}"), Meta(description="SHA-256, hex")]
Key = Annotated[str, Meta(min_length=43, max_length=4096, description="public key, base64url, no padding")]
Signature = Annotated[str, Meta(min_length=86, max_length=86, description="Ed25519, base64url, no padding")]
Text = Annotated[str, spelt(r"[^\x00-\x09\x0b-\x1f\x7f]+", max_length=2000), Meta(description="may have newlines")]
Line = Annotated[str, spelt(r"[^\x00-\x1f\x7f]+", max_length=100)]
Reference = Annotated[str, spelt(r"[^\x00-\x1f\x7f]+", max_length=140), Meta(description="a SEPA remittance text")]
Cause = Annotated[str, spelt("[a-z][a-z0-9-]{0,63}")]
Country = Annotated[str, spelt("[A-Z]{2}"), Meta(description="ISO 3166-1 alpha-2")]
Plmn = Annotated[str, spelt("[0-9]{5,6}"), Meta(description="MCC and MNC")]
Role = Literal["operator", "issuer", "auditor"]


class Message(Struct, frozen=True, gc=False, forbid_unknown_fields=True, kw_only=True, tag_field="type"):
    """What all messages carry."""

    id: UUID
    aud: Annotated[str, Meta(min_length=1, max_length=255)]
    exp: Time


class Party(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An operator as it is admitted. TADIG and PLMNs are attributes, not conditions: service providers have none."""

    id: OperatorId
    name: Line
    country: Country
    tadig: Annotated[str, spelt("[A-Z0-9]{5}")] | None = None
    plmns: Annotated[tuple[Plmn, ...], Meta(max_length=32)] = ()
    role: Role = "operator"
    key: Key
    recovery_key: Key


class SettlementParameters(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What rules version 2 lets founders choose. A ledger that says nothing, or was upgraded, has these defaults.

    `proposal_days_max`: how long a proposal may wait. `dispute_days`: after a request's `report_by`, how long its usage
    may be disputed. `answer_days`: for each next step of a dispute.
    """

    proposal_days_max: Annotated[int, Meta(ge=1, le=366)] = 90
    dispute_days: Annotated[int, Meta(ge=1, le=366)] = 60
    answer_days: Annotated[int, Meta(ge=1, le=90)] = 14


class Parameters(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the ledger's founders chose; changed only by governance."""

    offer_fee_per_day: Amount = 0
    offer_days_max: Annotated[int, Meta(ge=1, le=3660)] = 366
    request_days_max: Annotated[int, Meta(ge=1, le=3660)] = 366
    digest_interval: Annotated[int, Meta(ge=2, le=1_000_000)] = 1000
    settlement: SettlementParameters | UnsetType = UNSET


class Genesis(Message, frozen=True, kw_only=True, tag="genesis"):
    """Entry 0, signed with the origin's own key: who issues SDRt and admits operators, and by which rules."""

    rules_version: Annotated[int, Meta(ge=1)]
    issuer: Party
    parameters: Parameters


class UpgradeRules(Message, frozen=True, kw_only=True, tag="upgrade-rules"):
    """The issuer: from the next entry on the ledger's rules are those of `version`, which is a newer one."""

    version: Annotated[int, Meta(ge=2)]


class StateDigest(Message, frozen=True, kw_only=True, tag="digest"):
    """The origin states the head of the effects chain after `size` entries; `size` is this entry's own index."""

    size: Units
    state: Digest


class Admit(Message, frozen=True, kw_only=True, tag="admit"):
    """The issuer, as registrar of rules version 1, admits an operator, a service provider or an auditor."""

    party: Party


class AddKey(Message, frozen=True, kw_only=True, tag="add-key"):
    """A further key: `sign` for envelopes (with proof of possession), `seal` for what is sealed to this operator.

    `replaces` names an older key of the same purpose that ends at `until`: rotation with overlap.
    """

    purpose: Literal["sign", "seal"]
    key: Key
    proof: Signature | None = None
    replaces: Thumbprint | None = None
    until: Time | None = None


class RevokeKey(Message, frozen=True, kw_only=True, tag="revoke-key"):
    """The sender's signing or seal key `kid` ends with this entry. Signed with any valid or the recovery key."""

    kid: Thumbprint


class Recover(Message, frozen=True, kw_only=True, tag="recover"):
    """Signed with the offline recovery key: revokes every signing key and installs `key` and `recovery_key`."""

    key: Key
    proof: Signature
    recovery_key: Key


class Mint(Message, frozen=True, kw_only=True, tag="mint"):
    """The issuer creates SDRt for `to` against the deposit `deposit`; a reference is used once."""

    to: OperatorId
    amount: Annotated[int, Meta(ge=1, le=2**53 - 1)]
    deposit: Reference


class Redeem(Message, frozen=True, kw_only=True, tag="redeem"):
    """The holder asks for money back: available moves to held until the issuer answers."""

    amount: Annotated[int, Meta(ge=1, le=2**53 - 1)]
    payout: Reference


class Redeemed(Message, frozen=True, kw_only=True, tag="redeemed"):
    """The issuer has paid out: the held SDRt is burnt."""

    redemption: UUID
    payment: Reference


class RefuseRedemption(Message, frozen=True, kw_only=True, tag="refuse-redemption"):
    """The issuer does not pay out: the held SDRt is available again."""

    redemption: UUID
    cause: Cause


Category = Literal["telecom", "insurance", "transport", "content", "leisure", "other"]
Delivery = Literal["profile", "esim", "code"]
Language = Annotated[str, spelt("[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8})*", max_length=35), Meta(description="BCP 47")]
Languages = Annotated[dict[Language, Text], Meta(min_length=1, max_length=16)]


class Terms(Struct, frozen=True, gc=False, forbid_unknown_fields=True, kw_only=True):
    """The terms of an offer. Never edited: a new version supersedes, requests keep the version they cite.

    `name`, `description`: language tag → text. `whitelist`: who may see and order it, empty for everybody.
    `stock`: how many requests at most, None without limit.
    """

    name: Languages
    description: Languages
    category: Category
    countries: Annotated[tuple[Country, ...], Meta(max_length=250)] = ()
    plmns: Annotated[tuple[Plmn, ...], Meta(max_length=250)] = ()
    delivery: Delivery
    tariff: Tariff
    valid_until: Time
    accept_within_s: Annotated[int, Meta(ge=1, le=30 * 86_400)]
    report_within_s: Annotated[int, Meta(ge=1, le=90 * 86_400)]
    cancellation_fee: Amount = 0
    whitelist: Annotated[tuple[OperatorId, ...], Meta(max_length=200)] = ()
    stock: Interval | None = None


class PublishOffer(Message, frozen=True, kw_only=True, tag="offer"):
    """Publish `terms`; with `supersedes`, the sender's older offer is closed to new requests.

    With `bid_for` it is a bid: its whitelist is the buyer of that request for bids, and nobody else.
    """

    terms: Terms
    supersedes: UUID | None = None
    bid_for: UUID | None = None


class WithdrawOffer(Message, frozen=True, kw_only=True, tag="withdraw-offer"):
    """No new requests on this offer; those placed go on."""

    offer: UUID


class Wanted(Struct, frozen=True, gc=False, forbid_unknown_fields=True, kw_only=True):
    """What a buyer looks for and finds no offer of: for people to read, with the fields that a search would use."""

    description: Languages
    category: Category
    countries: Annotated[tuple[Country, ...], Meta(max_length=250)] = ()
    plmns: Annotated[tuple[Plmn, ...], Meta(max_length=250)] = ()
    quantity: Interval | None = None


class RequestBids(Message, frozen=True, kw_only=True, tag="request-for-bids"):
    """A buyer tells every operator what it looks for; bids are private offers to it, until `until`."""

    wanted: Wanted
    until: Time


class WithdrawBids(Message, frozen=True, kw_only=True, tag="withdraw-request-for-bids"):
    """No further bids on this request for bids; those made stay offers."""

    bids: UUID


class PlaceRequest(Message, frozen=True, kw_only=True, tag="request"):
    """The home operator orders one offer: `escrow` moves from its available SDRt into escrow.

    `user_id`: random per request. `delivery_key`: the sender's seal key the payload is to be sealed to.
    `ends`: no use after it. `renewals`: further bundle periods wanted; `escrow` covers price × (1 + renewals).
    """

    offer: UUID
    user_id: Annotated[str, spelt("[A-Za-z0-9_-]{16,64}")]
    delivery_key: Thumbprint
    escrow: Amount
    ends: Time
    renewals: Annotated[int, Meta(ge=0, le=365)] = 0


class CancelRequest(Message, frozen=True, kw_only=True, tag="cancel"):
    """Home cancels: free before the accept, for the offer's cancellation fee before activation."""

    request: UUID
    cause: Cause = "unwanted"


class DeclineRequest(Message, frozen=True, kw_only=True, tag="decline"):
    """Visited will not serve this request."""

    request: UUID
    cause: Cause


class AcceptRequest(Message, frozen=True, kw_only=True, tag="accept"):
    """Visited serves this request; `payload` is the SHA-256 of the sealed profile or code, kept beside the log."""

    request: UUID
    payload: Digest


class ExpireRequest(Message, frozen=True, kw_only=True, tag="expire"):
    """Anyone: `accept_by` has passed without an answer, or `report_by` without a close."""

    request: UUID


class DeliverRequest(Message, frozen=True, kw_only=True, tag="deliver"):
    """Home: the payload is on the card (proof of receipt seen) or in the subscriber's hands."""

    request: UUID


class ActivateRequest(Message, frozen=True, kw_only=True, tag="activate"):
    """Visited: first registration, or redemption of the SP code. `at`: when, in UTC minutes since the epoch."""

    request: UUID
    at: Units


class UsageRecord(Struct, frozen=True, gc=False, array_like=True, forbid_unknown_fields=True):
    """One chargeable event, written as a JSON array in this order.

    `start`: UTC minute since the epoch. `offset`: minutes of local time from UTC. `duration`: seconds.
    `units`: octets of data, seconds of voice, count of messages. `place`: PLMN or ISO country.
    `continues`: goes on a voice call reported in part before, so its first interval is not charged anew.
    """

    service: Literal["data", "voice", "message"]
    start: Units
    offset: Annotated[int, Meta(ge=-14 * 60, le=14 * 60)]
    duration: Units
    units: Units
    place: Annotated[str, Meta(min_length=2, max_length=6)]
    continues: bool = False


class UsageGroup(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """The records of one request. `sequence` counts its groups from 1 without gaps."""

    request: UUID
    sequence: Interval
    records: Annotated[tuple[UsageRecord, ...], Meta(min_length=1, max_length=MAX_RECORDS)]


class ReportUsage(Message, frozen=True, kw_only=True, tag="usage"):
    """Visited reports use. All requests of one report belong to one home operator, so that it may read the entry."""

    groups: Annotated[tuple[UsageGroup, ...], Meta(min_length=1, max_length=600)]


class CloseRequest(Message, frozen=True, kw_only=True, tag="close"):
    """Visited: no more use will be reported; home, after `report_by`. The rest of the escrow returns."""

    request: UUID
    cause: Cause = "finished"


Transaction = (  # of rules version 1; `settling` has those of version 2
    Genesis
    | StateDigest
    | Admit
    | AddKey
    | RevokeKey
    | Recover
    | Mint
    | Redeem
    | Redeemed
    | RefuseRedemption
    | PublishOffer
    | WithdrawOffer
    | RequestBids
    | WithdrawBids
    | PlaceRequest
    | CancelRequest
    | DeclineRequest
    | AcceptRequest
    | ExpireRequest
    | DeliverRequest
    | ActivateRequest
    | ReportUsage
    | CloseRequest
)
