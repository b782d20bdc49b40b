"""The same cards for the network, so that card and HLR agree: what is written to a card is what the HLR is told.

    text = tell_network(cards, NetworkFormat.OSMO_HLR_VTY)

Only cards with IMSI, K and OPc can be told; a card without is a `LandfallError`. The text has keys in clear: keep it as
you keep keys. It may be given to a network that knows some of the subscribers already, except over VTY, which says so
line by line and goes on.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum

import msgspec

from landfall.errors import LandfallError
from simcard.personalisation import Personalisation

# osmo-hlr's own number for Milenage in auc_3g, and the bits of SEQ it keeps for the index (TS 33.102 annex C.3.4).
OSMO_MILENAGE = 5
IND_BITS = 5
# AMF with the separation bit set, as EPS and 5GS want it (TS 33.401 §6.1.1).
AMF = "8000"


class NetworkFormat(StrEnum):
    """What the text is for."""

    OSMO_HLR_VTY = "osmo-hlr-vty"
    OSMO_HLR_CTRL = "osmo-hlr-ctrl"
    OSMO_HLR_SQL = "osmo-hlr-sql"
    OPEN5GS = "open5gs"
    CSV = "csv"


class Subscriber(msgspec.Struct, frozen=True):
    """What a network must know; keys in hex, the number without "+"."""

    iccid: str
    imsi: str
    msisdn: str
    k: str
    opc: str

    def __repr__(self) -> str:
        return f"Subscriber(iccid={self.iccid!r}, …)"


def tell_network(cards: Iterable[Personalisation], form: NetworkFormat) -> str:
    """The text for `form`, a line or a few for each card, ready to be piped in."""
    return "".join(line + "\n" for line in _WRITERS[form](_subscriber(card) for card in cards))


def _subscriber(card: Personalisation) -> Subscriber:
    if card.imsi is None or card.k is None or card.opc is None:
        raise LandfallError(f"card {card.iccid} has no IMSI, K or OPc that a network could be told")
    number = (card.msisdn or "").removeprefix("+")
    return Subscriber(card.iccid, card.imsi, number, card.k.hex(), card.opc.hex())


def _vty(subscribers: Iterator[Subscriber]) -> Iterator[str]:
    """For `telnet 127.0.0.1 4258`, or any program that types."""
    yield "enable"
    for s in subscribers:
        yield f"subscriber imsi {s.imsi} create"
        if s.msisdn:
            yield f"subscriber imsi {s.imsi} update msisdn {s.msisdn}"
        yield f"subscriber imsi {s.imsi} update aud3g milenage k {s.k} opc {s.opc} ind-bitlen {IND_BITS}"


def _ctrl(subscribers: Iterator[Subscriber]) -> Iterator[str]:
    """One CTRL command a line, each to be framed in IPA; the numbers tell answers apart."""
    number = 0
    for s in subscribers:
        commands = [f"subscriber.create {s.imsi}"]
        if s.msisdn:
            commands.append(f"subscriber.by-imsi-{s.imsi}.msisdn {s.msisdn}")
        commands.append(f"subscriber.by-imsi-{s.imsi}.aud3g milenage,{s.k},opc,{s.opc}")
        for command in commands:
            number += 1
            yield f"SET {number} {command}"


def _sql(subscribers: Iterator[Subscriber]) -> Iterator[str]:
    """For `sqlite3 hlr.db`, while osmo-hlr is stopped. Keys of a known IMSI are replaced, and its SQN starts anew."""
    yield "BEGIN;"
    for s in subscribers:
        number = f"'{s.msisdn}'" if s.msisdn else "NULL"
        # Digits and hex only: `Personalisation` lets nothing else in.
        yield (
            f"INSERT INTO subscriber (imsi, msisdn) VALUES ('{s.imsi}', {number}) "  # noqa: S608
            "ON CONFLICT (imsi) DO UPDATE SET msisdn = excluded.msisdn;"
        )
        yield (
            "INSERT OR REPLACE INTO auc_3g (subscriber_id, algo_id_3g, k, opc, sqn, ind_bitlen) "  # noqa: S608
            f"SELECT id, {OSMO_MILENAGE}, '{s.k}', '{s.opc}', 0, {IND_BITS} FROM subscriber WHERE imsi = '{s.imsi}';"
        )
    yield "COMMIT;"


def _open5gs(subscribers: Iterator[Subscriber]) -> Iterator[str]:
    """A document a line: `mongoimport --db open5gs --collection subscribers --mode upsert --upsertFields imsi`."""
    rate = {"value": 1, "unit": 3}
    ambr = {"downlink": rate, "uplink": rate}
    qos = {
        "index": 9,
        "arp": {"priority_level": 8, "pre_emption_capability": 1, "pre_emption_vulnerability": 1},
    }
    session = {"name": "internet", "type": 3, "qos": qos, "ambr": ambr}
    for s in subscribers:
        document = {
            "schema_version": 1,
            "imsi": s.imsi,
            "msisdn": [s.msisdn] if s.msisdn else [],
            "security": {"k": s.k, "op": None, "opc": s.opc, "amf": AMF},
            "ambr": ambr,
            "slice": [{"sst": 1, "default_indicator": True, "session": [session]}],
            "access_restriction_data": 32,
            "network_access_mode": 0,
            "subscriber_status": 0,
            "subscribed_rau_tau_timer": 12,
        }
        yield msgspec.json.encode(document).decode()


def _csv(subscribers: Iterator[Subscriber]) -> Iterator[str]:
    """Columns that `read_batch` takes too."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(Subscriber.__struct_fields__)
    rows.writerows((s.iccid, s.imsi, s.msisdn and f"+{s.msisdn}", s.k, s.opc) for s in subscribers)
    yield text.getvalue().rstrip("\n")


_WRITERS: dict[NetworkFormat, Callable[[Iterator[Subscriber]], Iterator[str]]] = {
    NetworkFormat.OSMO_HLR_VTY: _vty,
    NetworkFormat.OSMO_HLR_CTRL: _ctrl,
    NetworkFormat.OSMO_HLR_SQL: _sql,
    NetworkFormat.OPEN5GS: _open5gs,
    NetworkFormat.CSV: _csv,
}
