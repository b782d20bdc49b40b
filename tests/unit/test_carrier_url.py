"""What the carrier's URL says of a short message centre."""

import httpx
import pytest

from landfall.errors import LandfallError
from marketplace.networks.carrier import open_carrier
from marketplace.operator_settings import CarrierSettings
from ota.scp80.sms import build_delivers
from ota.smpp.carrier import SmppCarrier


async def open_url(url: str) -> SmppCarrier:
    async def find_number(_: str) -> str:
        return "+79990000001"

    async with httpx.AsyncClient() as http:
        carrier = open_carrier(CarrierSettings(url=url), http, "secret", find_number)
    assert isinstance(carrier, SmppCarrier)
    return carrier


@pytest.mark.parametrize(("query", "coding"), [("", 0xF6), ("?data-coding=4", 0x04)])
async def test_a_centre_reads_the_data_coding_it_wants(query: str, coding: int) -> None:
    carrier = await open_url(f"smpp://ota@127.0.0.1{query}")
    (tpdu,) = build_delivers(bytes(20), originator="12345", timestamp=bytes(7))
    assert carrier._message(tpdu, "79990000001").data_coding == coding


async def test_a_data_coding_that_is_none_is_told() -> None:
    with pytest.raises(LandfallError, match="data-coding 'binary' is not a number"):
        await open_url("smpp://ota@127.0.0.1?data-coding=binary")


async def test_a_centre_has_the_time_it_is_given() -> None:
    carrier = await open_url("smpp://ota@127.0.0.1?validity-seconds=10&proof-seconds=5")
    assert (carrier._validity_s, carrier._proof_s) == (10, 5)
    with pytest.raises(LandfallError, match="proof-seconds '0' is not a number from 1 to 600; 20 when left out"):
        await open_url("smpp://ota@127.0.0.1?proof-seconds=0")
