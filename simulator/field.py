"""The field: networks on the air and phones among them, in one process.

    field = Field()
    home = field.add_network(Network("25099", "Home", EmbeddedHlr()))
    abroad = field.add_network(Network("26201", "Abroad", EmbeddedHlr()))
    await home.provision(imsi, k=k, opc=opc, algorithm="milenage", msisdn=None)
    phone = await field.add_phone(MemoryLink(card), place="25099")
    await phone.travel_to("262")

Operator nodes in other processes reach it through `simulator.field_app`.
"""

from __future__ import annotations

from collections.abc import Sequence

from simcard.readers.contract import Link
from simulator.network import Network
from simulator.phone import AbsentSubscriberError, CardRefusedError, Phone, SmsAnswer

__all__ = ["AbsentSubscriberError", "CardRefusedError", "Field", "Network", "Phone", "SmsAnswer"]


class Field:
    """Networks by PLMN, phones by the ICCID of their card."""

    def __init__(self) -> None:
        self.networks: dict[str, Network] = {}
        self.phones: dict[str, Phone] = {}

    def add_network(self, network: Network) -> Network:
        """Put a network on the air; `ValueError` when its PLMN is taken."""
        if network.plmn in self.networks:
            raise ValueError(f"PLMN {network.plmn} is on the air already, as {self.networks[network.plmn].name}")
        self.networks[network.plmn] = network
        return network

    async def add_phone(self, link: Link, *, place: str, pin: str | None = None) -> Phone:
        """Switch a phone on in a country (MCC) or a network's reach (PLMN)."""
        phone = Phone(link, self.find_networks, place=place, pin=pin)
        await phone.switch_on()
        self.phones[phone.iccid] = phone
        return phone

    def has_number(self, number: str) -> bool:
        """Whether a number, digits only, is that of some network's subscriber."""
        return any(network.has_number(number) for network in self.networks.values())

    def find_phone(self, number: str) -> Phone | None:
        """The phone that is registered under a number now, in the network whose number it is."""
        mobiles = (network.find_mobile(number) for network in self.networks.values())
        return next((self.phones.get(mobile.iccid) for mobile in mobiles if mobile is not None), None)

    def find_networks(self, place: str) -> Sequence[Network]:
        """Networks of a country or under a PLMN; none for an empty place."""
        return [network for plmn, network in self.networks.items() if place and plmn.startswith(place)]
