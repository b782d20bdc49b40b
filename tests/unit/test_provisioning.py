"""Provision a software card over the memory link: what is written, read back, refused; and what costs a try."""

from __future__ import annotations

import msgspec
import pytest

from ota.profile import MULTI_ACCOUNT_AID, MobileProfile
from simcard.personalisation import Personalisation, PersonalisationError
from simcard.provisioning import (
    AdmRefusedError,
    ProvisioningError,
    WrongCardError,
    adm_tries,
    check_keys,
    provision_card,
    verify_card,
)
from simcard.provisioning_kinds import GENERIC, SJA5
from simcard.provisioning_plan import plan_writes
from simcard.readers import Link, MemoryLink
from simcard.reading import read_card
from simcard.uicc import personalise

ICCID, ADM = "8999900000000000011", "12345678"
HOME = MobileProfile(
    imsi="001010000000001", k=bytes(16), opc=bytes(16), plmn="00101", spn="Old", acc=2, smsc="+10000000", coverage=()
)
CARD = Personalisation(
    iccid=ICCID,
    imsi="250990000000123",
    plmn="25099",
    k=bytes.fromhex("465b5ce8b199b49faa5f0a2ee238a6bc"),
    opc=bytes.fromhex("cd63cb71954a9f4e48a5994e37a02baf"),
    adm=ADM,
    msisdn="+79991234567",
    smsc="+79990000000",
    spn="Дом",
)


class Recorded(MemoryLink):
    """A link that remembers what went over it."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self.sent: list[str] = []

    def send_tpdu(self, pdu: str) -> tuple[str, str]:
        self.sent.append(pdu)
        return super().send_tpdu(pdu)

    def instructions(self, ins: str) -> list[str]:
        return [pdu for pdu in self.sent if pdu[2:4] == ins]


@pytest.fixture
def link() -> Recorded:
    link = Recorded(personalise(iccid=ICCID, home=HOME, ota=[], adm=ADM))
    link.connect()
    return link


def changed(**fields: object) -> Personalisation:
    return msgspec.structs.replace(CARD, **fields)


def test_a_card_is_written_read_back_and_its_keys_are_proved(link: Recorded) -> None:
    outcome = provision_card(link, CARD)
    assert (outcome.ok, outcome.kind, outcome.keys, outcome.adm_tries) == (True, "landfall", "agree", 3)
    assert {f.action for f in outcome.files if f.path.startswith("usim/")} <= {"written", "unchanged"}
    card = read_card(link)
    assert (card.imsi, card.spn, card.msisdn, card.smsc) == (CARD.imsi, "Дом", CARD.msisdn, CARD.smsc)
    assert (card.acc, card.iccid) == ("0008", ICCID)
    assert verify_card(link, CARD).result == "agrees"


def test_a_second_time_writes_nothing_and_so_a_fault_is_mended_by_repeating(link: Recorded) -> None:
    provision_card(link, CARD)
    link.sent.clear()
    outcome = provision_card(link, CARD)
    assert "written" not in {file.action for file in outcome.files}
    assert not link.instructions("d6") + link.instructions("dc")


def test_a_dry_run_tries_no_code_and_writes_nothing(link: Recorded) -> None:
    before = read_card(link)
    link.sent.clear()
    outcome = provision_card(link, CARD, dry_run=True)
    assert outcome.result == "dry run"
    assert "to write" in {file.action for file in outcome.files}
    assert not link.instructions("d6") + link.instructions("dc") + link.instructions("88")
    assert {pdu[:10] for pdu in link.instructions("20")} == {"0020000a"}
    assert read_card(link) == before


def test_a_wrong_adm_is_tried_once_and_the_tries_are_known_before(link: Recorded) -> None:
    told: list[tuple[str, int | None]] = []
    wrong = changed(adm="00000000")
    with pytest.raises(AdmRefusedError, match="2 tries left"):
        provision_card(link, wrong, before_verify=lambda kind, tries: told.append((kind, tries)))
    assert told == [("landfall", 3)]
    assert len([pdu for pdu in link.instructions("20") if len(pdu) > 10]) == 1
    assert not link.instructions("d6")


def test_the_last_try_is_not_spent_without_being_told_to(link: Recorded) -> None:
    for _ in range(2):
        with pytest.raises(AdmRefusedError):
            provision_card(link, changed(adm="00000000"))
    with pytest.raises(ProvisioningError, match="one try of its ADM left"):
        provision_card(link, CARD)
    assert adm_tries(link) == 1
    assert provision_card(link, CARD, last_try=True).adm_tries == 3


def test_a_blocked_card_is_told_and_left_alone(link: Recorded) -> None:
    for _ in range(3):
        with pytest.raises(AdmRefusedError):
            provision_card(link, changed(adm="00000000"), last_try=True)
    with pytest.raises(ProvisioningError, match="blocked for good"):
        provision_card(link, CARD, last_try=True)


def test_another_card_than_the_one_meant_costs_no_try(link: Recorded) -> None:
    with pytest.raises(WrongCardError, match=f"this is card {ICCID}"):
        provision_card(link, changed(iccid="8999900000000000029", adm="00000000"))
    assert adm_tries(link) == 3


def test_without_an_adm_nothing_is_tried(link: Recorded) -> None:
    with pytest.raises(ProvisioningError, match="no ADM is given"):
        provision_card(link, changed(adm=None))


def test_only_what_is_given_is_written(link: Recorded) -> None:
    outcome = provision_card(link, Personalisation(iccid=ICCID, adm=ADM, spn="New"))
    assert {file.file for file in outcome.files if file.action == "written"} <= {"EF.SPN", "EF.SPN of DF.GSM"}
    card = read_card(link)
    assert (card.spn, card.imsi) == ("New", HOME.imsi)
    assert outcome.keys == "not asked"


def test_differences_are_found_in_files_and_in_keys(link: Recorded) -> None:
    provision_card(link, CARD)
    other = verify_card(link, changed(spn="Other"))
    assert (other.result, [f.file for f in other.files if f.action == "differs"]) == ("differs", ["EF.SPN"])
    keys = verify_card(link, changed(k=bytes(16)))
    assert (keys.result, keys.keys) == ("differs", "differ")


def test_keys_are_masked_unless_asked_for(link: Recorded) -> None:
    assert CARD.k is not None
    assert CARD.opc is not None
    told = repr(msgspec.to_builtins(provision_card(link, CARD))) + repr(CARD)
    assert CARD.k.hex() not in told
    assert CARD.opc.hex() not in told
    shown = provision_card(link, changed(k=bytes(15) + b"\1"), show_keys=True)
    assert "00" * 15 + "01" in repr(msgspec.to_builtins(shown))


def test_a_challenge_that_proves_keys_moves_no_counter(link: Link) -> None:
    same = changed(k=HOME.k, opc=HOME.opc)
    assert {check_keys(link, same) for _ in range(5)} == {"agree"}


def test_a_card_with_a_pin_is_read_back_with_it() -> None:
    link = Recorded(personalise(iccid=ICCID, home=HOME, ota=[], adm=ADM, pin="1234"))
    link.connect()
    assert provision_card(link, CARD, pin="1234").keys == "agree"
    assert verify_card(link, CARD).keys == "unknown: the card asks for its PIN"


def test_a_sysmocom_key_file_keeps_how_it_cuts_res_but_not_what_another_algorithm_meant() -> None:
    writes = [write for write in plan_writes(CARD, SJA5) if write.secret]
    assert [write.path for write in writes] == [("usim", "af20"), ("3f00", "a515", "6f20"), ("isim", "af20")]
    keys = writes[1].data[1:]
    assert writes[1].compose(33, b"\x24" + bytes(32)) == b"\x34" + keys
    assert writes[1].compose(67, b"\x56" + bytes(66)) == b"\x14" + keys
    assert writes[1].compose(33, None) == b"\x14" + keys


def test_where_an_unknown_card_keeps_its_keys_is_not_guessed(link: Recorded) -> None:
    assert [write for write in plan_writes(CARD, GENERIC) if write.secret] == []


def test_numbers_stand_at_the_end_of_records_of_any_length() -> None:
    writes = {write.file: write for write in plan_writes(CARD, GENERIC)}
    assert writes["EF.MSISDN"].compose(28, None).hex() == "ff" * 14 + "079197992143" + "65f7" + "ff" * 6
    assert writes["EF.SMSP"].compose(40, None).hex().startswith("ff" * 12 + "e1")
    assert len(writes["EF.SMSP"].compose(40, None)) == 40


KEYS_OF_ALGORITHMS = {
    "milenage": (bytes(range(16)), bytes(range(16, 32))),
    "tuak": (bytes(range(32)), bytes(range(32, 64))),
    "xor": (bytes(range(16)), None),
    "comp128v1": (bytes(range(16)), None),
    "comp128v2": (bytes(range(16)), None),
    "comp128v3": (bytes(range(16)), None),
}


@pytest.mark.parametrize("algorithm", KEYS_OF_ALGORITHMS)
def test_keys_of_every_algorithm_are_written_and_proved(link: Recorded, algorithm: str) -> None:
    k, opc = KEYS_OF_ALGORITHMS[algorithm]
    card = changed(algorithm=algorithm, k=k, opc=opc)
    assert verify_card(link, card).keys == "differ"
    assert provision_card(link, card).keys == "agree"
    assert verify_card(link, card).result == "agrees"
    assert verify_card(link, CARD).keys == ("agree" if card == CARD else "differ")


def test_a_tuak_card_becomes_a_milenage_card_again(link: Recorded) -> None:
    k, topc = KEYS_OF_ALGORITHMS["tuak"]
    provision_card(link, changed(algorithm="tuak", k=k, opc=topc))
    assert provision_card(link, CARD).keys == "agree"


def test_an_algorithm_that_the_kind_of_card_has_not_is_refused_before_a_code_is_tried() -> None:
    class Theirs(Recorded):
        """A card that is not told from a sysmoISIM-SJA2: without the multi-account application."""

        def send_tpdu(self, pdu: str) -> tuple[str, str]:
            return ("", "6a82") if MULTI_ACCOUNT_AID.hex() in pdu else super().send_tpdu(pdu)

    link = Theirs(personalise(iccid=ICCID, home=HOME, ota=[], adm=ADM))
    link.connect()
    k, topc = KEYS_OF_ALGORITHMS["tuak"]
    with pytest.raises(ProvisioningError, match="a sysmoISIM-SJA2 has no tuak; it has milenage, xor"):
        provision_card(link, changed(algorithm="tuak", k=k, opc=topc))
    assert not [pdu for pdu in link.instructions("20") if len(pdu) > 10]


@pytest.mark.parametrize(
    ("algorithm", "opc", "told"),
    [
        ("comp128v1", bytes(16), "OPC is nothing comp128v1 knows"),
        ("tuak", bytes(16), "OPC is not what tuak takes: TOPc must be 32 octets, not 16"),
        ("milenage", None, "OPC goes with K"),
        ("snow", None, "ALGORITHM is none of milenage, tuak"),
    ],
)
def test_keys_that_do_not_fit_their_algorithm_are_named(algorithm: str, opc: bytes | None, told: str) -> None:
    with pytest.raises(PersonalisationError, match=told):
        Personalisation(iccid=ICCID, algorithm=algorithm, k=bytes(16), opc=opc)
