"""The messages of simulated journeys: what each operator signs, with ids and contents that follow from the run.

A message made again for the same run, journey and step is the same to the octet, so that a step which was broken off
can be sent again. The times in it are the run's beginning and the minute the step saw when it first began.
"""

import hashlib
from typing import Any, Final
from uuid import UUID

from settlement.ledger.keys import to_base64url
from settlement.ledger.messages import (
    AcceptRequest,
    ActivateRequest,
    CancelRequest,
    CloseRequest,
    DeclineRequest,
    DeliverRequest,
    PlaceRequest,
    PublishOffer,
    ReportUsage,
    Terms,
    UsageGroup,
    UsageRecord,
)
from simulator.world import SimOffer, World

DAY_MS: Final = 86_400_000
VALID_DAYS: Final = 30
"""How long envelopes, offers and requests last: longer than any run, whatever interrupts it."""
BYTES_PER_S: Final = 250_000
"""What a phone moves on average while it moves anything; makes the duration of a data record."""


class Book:
    """Makes the messages of one run. `token` tells runs on the same ledger apart."""

    def __init__(self, world: World, *, origin: str, token: str, began_ms: int, seal_ids: list[str]) -> None:
        self._world, self._origin, self._began_ms, self._seal_ids = world, origin, began_ms, seal_ids
        self.token, self._key = token, token.encode()
        self._requests: dict[int, UUID] = {}
        """Ids that were asked for: each is needed in every step its journey takes."""
        self.offer_ids = [self.id(f"offer/{offer.number}") for offer in world.offers]

    def id(self, name: str) -> UUID:
        """The UUIDv7 of a thing of this run."""
        random = int.from_bytes(hashlib.blake2b(name.encode(), key=self._key, digest_size=10).digest(), "big")
        high, low = random >> 62 & 0xFFF, random & (1 << 62) - 1
        return UUID(int=self._began_ms << 80 | 7 << 76 | high << 64 | 2 << 62 | low)

    def request_id(self, trip: int) -> UUID:
        """The id of a journey's request."""
        if (known := self._requests.get(trip)) is None:
            known = self._requests[trip] = self.id(f"request/{trip}")
        return known

    def fields(self, name: str) -> dict[str, Any]:
        """What every message has."""
        return {"id": self.id(name), "aud": self._origin, "exp": self._began_ms + VALID_DAYS * DAY_MS}

    def offer(self, offer: SimOffer) -> PublishOffer:
        """Publish an offer."""
        operator = self._world.operators[offer.operator]
        terms = Terms(
            name={"en": offer.name},
            description={"en": f"{offer.name} in {operator.country.name}"},
            category="telecom",
            countries=(operator.country.iso,),
            plmns=(operator.plmn,),
            delivery="profile",
            tariff=offer.tariff,
            valid_until=self._began_ms + VALID_DAYS * DAY_MS,
            accept_within_s=7 * 86_400,
            report_within_s=7 * 86_400,
            cancellation_fee=0,
        )
        return PublishOffer(**self.fields(f"offer/{offer.number}"), terms=terms)

    def request(self, trip: int, home: int, offer: int, escrow: int, renewals: int, *, name: str = "") -> PlaceRequest:
        """The home operator orders for a journey."""
        user = hashlib.blake2b(f"user/{trip}".encode(), key=self._key, digest_size=16).digest()
        return PlaceRequest(
            **self.fields(name or f"request/{trip}"),
            offer=self.offer_ids[offer],
            user_id=to_base64url(user),
            delivery_key=self._seal_ids[home],
            escrow=escrow,
            ends=self._began_ms + (VALID_DAYS - 1) * DAY_MS,
            renewals=renewals,
        )

    def accept(self, trip: int) -> AcceptRequest:
        """The visited operator serves it. Of the unsampled, the digest is of a payload that nobody will open."""
        payload = hashlib.sha256(self._key + f"payload/{trip}".encode()).hexdigest()
        return AcceptRequest(**self.fields(f"accept/{trip}"), request=self.request_id(trip), payload=payload)

    def decline(self, trip: int) -> DeclineRequest:
        """No profile is free."""
        return DeclineRequest(**self.fields(f"decline/{trip}"), request=self.request_id(trip), cause="no-profile-free")

    def deliver(self, trip: int) -> DeliverRequest:
        """The profile is on the card."""
        return DeliverRequest(**self.fields(f"deliver/{trip}"), request=self.request_id(trip))

    def cancel(self, trip: int, cause: str) -> CancelRequest:
        """The home operator calls it off."""
        return CancelRequest(**self.fields(f"cancel/{trip}"), request=self.request_id(trip), cause=cause)

    def activate(self, trip: int, minute: int) -> ActivateRequest:
        """First registration."""
        return ActivateRequest(**self.fields(f"activate/{trip}"), request=self.request_id(trip), at=minute)

    def close(self, trip: int) -> CloseRequest:
        """No more use will be reported."""
        return CloseRequest(**self.fields(f"close/{trip}"), request=self.request_id(trip))

    def report(self, name: str, groups: tuple[UsageGroup, ...]) -> ReportUsage:
        """A signed usage report."""
        return ReportUsage(**self.fields(name), groups=groups)


def make_record(
    service: Any, minute: int, offset: int, units: int, honest_units: int, most_s: int, place: str
) -> UsageRecord:
    """A record of `units`; who inflates it does not lengthen it: its duration is that of `honest_units`."""
    if service == "data":
        duration = min(most_s, 60 + honest_units // BYTES_PER_S)
    else:
        duration = honest_units if service == "voice" else 0
    return UsageRecord(service, minute, offset, duration, units, place)
