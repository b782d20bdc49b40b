"""The card in a phone: what the phone reads from it, writes into it and asks it (3GPP TS 31.102 §5).

sim = PhoneCard(link, pin="1234")
sim.start()                          # from reset to TERMINAL PROFILE: ICCID and IMSI are known
sim.answer(rand, autn)
"""

from __future__ import annotations

from ota.scp80.digits import pack_plmn, unpack_digits, unpack_imsi, unpack_plmn
from ota.scp80.tlv import decode_tlvs
from simcard.readers.contract import Link
from simcard.uicc.authentication import Authenticated, ResyncNeeded
from simcard.uicc.codes import encode_code
from simulator.hlr import Cause, HlrRefusalError

# Everything: profile download, SMS-PP, REFRESH, SEND SHORT MESSAGE, PROVIDE LOCAL INFORMATION and more.
TERMINAL_PROFILE = "ffffffffffffffff"
# Location area of every simulated network.
LAC = 0x0001
EF_IMSI, EF_KEYS, EF_FPLMN, EF_LOCI = "6f07", "6f08", "6f7b", "6f7e"


class PhoneCard:
    """A card behind `link`; `pin` is told when it is asked for. `iccid` and `imsi` are those of the last start."""

    def __init__(self, link: Link, pin: str | None) -> None:
        self._link, self._pin = link, pin
        self.iccid = ""
        self.imsi = ""

    def power_on(self) -> None:
        """Wait for the card and power it."""
        self._link.wait_for_card()
        self._link.connect()

    def power_off(self) -> None:
        """Let it go."""
        self._link.disconnect()

    def send(self, apdu: str) -> tuple[str, str]:
        """One APDU in hex; data and status word."""
        return self._link.send_apdu(apdu)

    def start(self) -> None:
        """From reset to knowing the IMSI. A proactive command that waits is left to the next poll."""
        self._link.reset_card()
        if self._pin is not None:
            self._link.send_apdu_checksw(f"0020000108{encode_code(self._pin).hex()}", "9???")
        self._link.send_apdu_checksw("00a40004022fe2", "9???")
        self.iccid = unpack_digits(self._read_current(10))
        self._link.send_apdu_checksw("00a40004022f00", "9???")
        template = dict(decode_tlvs(_trim(bytes.fromhex(self._link.send_apdu("00b2010400")[0]))))[0x61]
        aid = dict(decode_tlvs(template))[0x4F]
        self._link.send_apdu_checksw(f"00a40404{len(aid):02x}{aid.hex()}", "9???")
        self._link.send_apdu_checksw(f"80100000{len(TERMINAL_PROFILE) // 2:02x}{TERMINAL_PROFILE}", "9???")
        self.imsi = unpack_imsi(self._read(EF_IMSI))

    def answer(self, rand: bytes, autn: bytes) -> Authenticated | ResyncNeeded | None:
        """AUTHENTICATE in 3G context (TS 31.102 §7.1.2); None when the card finds the MAC wrong."""
        data, sw = self._link.send_apdu(f"0088008122{'10' + rand.hex()}{'10' + autn.hex()}00")
        if sw == "9862":
            return None
        if sw != "9000" and not sw.startswith("91"):
            raise HlrRefusalError(Cause.ILLEGAL_MS)
        raw = bytes.fromhex(data)
        fields = _counted(raw[1:])
        if raw[0] == 0xDC:
            return ResyncNeeded(fields[0])
        answer = Authenticated(fields[0], fields[1], fields[2], fields[3] if len(fields) > 3 else b"")
        self._write(EF_KEYS, b"\0" + answer.ck + answer.ik)
        return answer

    def answer_gsm(self, rand: bytes) -> tuple[bytes, bytes]:
        """AUTHENTICATE in GSM context (TS 31.102 §7.1.2): SRES and Kc."""
        data, sw = self._link.send_apdu(f"0088008011{'10' + rand.hex()}00")
        if sw != "9000" and not sw.startswith("91"):
            raise HlrRefusalError(Cause.ILLEGAL_MS)
        sres, kc = _counted(bytes.fromhex(data))
        return sres, kc

    def forbidden(self) -> set[str]:
        """PLMNs in EF.FPLMN."""
        content = self._read(EF_FPLMN)
        entries = (content[i : i + 3] for i in range(0, len(content), 3))
        return {unpack_plmn(entry) for entry in entries if entry != b"\xff\xff\xff"}

    def forbid(self, plmn: str) -> None:
        """Write the PLMN into EF.FPLMN, the oldest giving way (TS 31.102 §4.2.16)."""
        content = self._read(EF_FPLMN)
        self._write(EF_FPLMN, (pack_plmn(plmn) + content)[: len(content)])

    def note_location(self, plmn: str) -> None:
        """Registered in that network: EF.LOCI, updated (TS 31.102 §4.2.17)."""
        self._write(EF_LOCI, bytes(4) + pack_plmn(plmn) + LAC.to_bytes(2, "big") + b"\xff\x00")

    def _read(self, fid: str) -> bytes:
        self._link.send_apdu_checksw(f"00a4000402{fid}", "9???")
        return self._read_current(0)

    def _read_current(self, length: int) -> bytes:
        return bytes.fromhex(self._link.send_apdu_checksw(f"00b00000{length:02x}", "9???")[0])

    def _write(self, fid: str, content: bytes) -> None:
        self._link.send_apdu_checksw(f"00a4000402{fid}", "9???")
        self._link.send_apdu_checksw(f"00d60000{len(content):02x}{content.hex()}", "9???")


def _counted(data: bytes) -> list[bytes]:
    """Fields each preceded by its length."""
    fields, at = [], 0
    while at < len(data):
        fields.append(data[at + 1 : at + 1 + data[at]])
        at += 1 + data[at]
    return fields


def _trim(record: bytes) -> bytes:
    """The one TLV at the start of a record, without its filling."""
    return record[: 2 + record[1]]
