"""The same cards for the network, so that card and HLR agree: what is written to a card is what the HLR is told.

    text = tell_network(cards, NetworkFormat.OSMO_HLR_VTY)

Only cards with IMSI and keys can be told, and only to a network that has their algorithm; another card is a
`LandfallError`. The text has keys in clear: keep it as you keep keys. It may be given to a network that knows some of
the subscribers already, except over VTY, which says so line by line and goes on.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum

import msgspec

from landfall.errors import LandfallError
from simcard.personalisation import Personalisation

# libosmocore's numbers (enum osmo_auth_algo) of what stands in auc_2g and in auc_3g, and the bits of SEQ that osmo-hlr
# keeps for the index (TS 33.102 annex C.3.4). TUAK needs a newer one than Debian's 1.5.
OSMO_2G = {"comp128v1": 1, "comp128v2": 2, "comp128v3": 3}
OSMO_3G = {"xor": 4, "milenage": 5, "tuak": 7}
IND_BITS = 5
# osmo-hlr wants an OPc of every algorithm over CTRL and in SQL; XOR does not look at it.
NO_OPC = "00" * 16
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
    algorithm: str
    k: str
    opc: str

    def __repr__(self) -> str:
        return f"Subscriber(iccid={self.iccid!r}, …)"


def tell_network(cards: Iterable[Personalisation], form: NetworkFormat) -> str:
    """The text for `form`, a line or a few for each card, ready to be piped in."""
    return "".join(line + "\n" for line in _WRITERS[form](_subscriber(card) for card in cards))


def _subscriber(card: Personalisation) -> Subscriber:
    if card.imsi is None or card.keys is None:
        raise LandfallError(f"card {card.iccid} has no IMSI, K or OPc that a network could be told")
    number = (card.msisdn or "").removeprefix("+")
    k, opc = card.keys
    return Subscriber(card.iccid, card.imsi, number, card.algorithm, k.hex(), opc.hex())


def _vty(subscribers: Iterator[Subscriber]) -> Iterator[str]:
    """For `telnet 127.0.0.1 4258`, or any program that types."""
    yield "enable"
    for s in subscribers:
        yield f"subscriber imsi {s.imsi} create"
        if s.msisdn:
            yield f"subscriber imsi {s.imsi} update msisdn {s.msisdn}"
        if s.algorithm in OSMO_2G:
            yield f"subscriber imsi {s.imsi} update aud2g {s.algorithm} ki {s.k}"
        else:
            opc = f" opc {s.opc}" if s.opc else ""
            yield f"subscriber imsi {s.imsi} update aud3g {s.algorithm} k {s.k}{opc} ind-bitlen {IND_BITS}"


def _ctrl(subscribers: Iterator[Subscriber]) -> Iterator[str]:
    """One CTRL command a line, each to be framed in IPA; the numbers tell answers apart."""
    number = 0
    for s in subscribers:
        commands = [f"subscriber.create {s.imsi}"]
        if s.msisdn:
            commands.append(f"subscriber.by-imsi-{s.imsi}.msisdn {s.msisdn}")
        if s.algorithm in OSMO_2G:
            commands.append(f"subscriber.by-imsi-{s.imsi}.aud2g {s.algorithm},{s.k}")
        else:
            commands.append(f"subscriber.by-imsi-{s.imsi}.aud3g {s.algorithm},{s.k},opc,{s.opc or NO_OPC}")
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
        this = f"FROM subscriber WHERE imsi = '{s.imsi}'"
        if s.algorithm in OSMO_2G:
            yield f"DELETE FROM auc_3g WHERE subscriber_id = (SELECT id {this});"  # noqa: S608
            yield (
                "INSERT OR REPLACE INTO auc_2g (subscriber_id, algo_id_2g, ki) "
                f"SELECT id, {OSMO_2G[s.algorithm]}, '{s.k}' {this};"
            )
        else:
            yield f"DELETE FROM auc_2g WHERE subscriber_id = (SELECT id {this});"  # noqa: S608
            yield (
                "INSERT OR REPLACE INTO auc_3g (subscriber_id, algo_id_3g, k, opc, sqn, ind_bitlen) "
                f"SELECT id, {OSMO_3G[s.algorithm]}, '{s.k}', '{s.opc or NO_OPC}', 0, {IND_BITS} {this};"
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
        if s.algorithm != "milenage":
            raise LandfallError(f"card {s.iccid} has {s.algorithm}, and Open5GS knows Milenage only; leave it out")
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
    rows.writerows((s.iccid, s.imsi, s.msisdn and f"+{s.msisdn}", s.algorithm, s.k, s.opc) for s in subscribers)
    yield text.getvalue().rstrip("\n")


_WRITERS: dict[NetworkFormat, Callable[[Iterator[Subscriber]], Iterator[str]]] = {
    NetworkFormat.OSMO_HLR_VTY: _vty,
    NetworkFormat.OSMO_HLR_CTRL: _ctrl,
    NetworkFormat.OSMO_HLR_SQL: _sql,
    NetworkFormat.OPEN5GS: _open5gs,
    NetworkFormat.CSV: _csv,
}
