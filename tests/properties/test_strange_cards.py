"""Whatever a card answers, reading, exporting, verifying and provisioning it end, with a result or a clear error."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landfall.errors import LandfallError
from simcard.export import export_card
from simcard.personalisation import Personalisation
from simcard.provisioning import CardOutcome, provision_card, read_iccid, verify_card
from simcard.readers import Link
from simcard.reading import read_card

CARD = Personalisation(
    iccid="8999900000000000011",
    imsi="250990000000123",
    plmn="25099",
    k=bytes(16),
    opc=bytes(16),
    adm="12345678",
    spn="Home",
    smsc="+79990000000",
)
# Enough to go far into a read; afterwards the card answers 6F00 for ever.
ANSWERS_MAX = 60


class StrangeCard(Link):
    """Answers what it was told to, then 6F00."""

    def __init__(self, answers: list[bytes]) -> None:
        self._answers: Iterator[bytes] = iter(answers)

    def wait_for_card(self, timeout: float | None = None, newcardonly: bool = False) -> None:
        """It is there."""

    def connect(self) -> None:
        """Nothing to do."""

    def disconnect(self) -> None:
        """Nothing to do."""

    def get_atr(self) -> str:
        return "3b00"

    def reset_card(self) -> str:
        return "3b00"

    def send_tpdu(self, pdu: str) -> tuple[str, str]:
        answer = next(self._answers, b"\x6f\x00").hex()
        return answer[:-4], answer[-4:]


words = st.sampled_from([bytes.fromhex(w) for w in ("9000", "9110", "6282", "63c3", "6982", "6a82", "6c0a", "6110")])
fcps = st.builds(
    lambda kind, record, size, sw: b"\x62\x0b\x82\x05" + kind + b"\x21" + record + b"\x80\x02" + size + sw,
    st.sampled_from([b"\x41", b"\x42", b"\x46", b"\x78"]),
    st.binary(min_size=3, max_size=3),
    st.binary(min_size=2, max_size=2),
    words,
)
data = st.builds(lambda content, sw: content + sw, st.binary(max_size=40), words)
answers = st.lists(fcps | data | st.binary(min_size=2, max_size=8), max_size=ANSWERS_MAX)


@pytest.mark.parametrize(
    "use",
    [
        read_iccid,
        read_card,
        export_card,
        lambda link: verify_card(link, CARD),
        lambda link: provision_card(link, CARD),
        lambda link: provision_card(link, CARD, dry_run=True),
    ],
)
@given(answers)
def test_a_strange_card_is_a_result_or_a_clear_error(use: Callable[[Link], object], answers: list[bytes]) -> None:
    assert outcome(use, StrangeCard(answers))


@given(answers)
def test_a_card_with_the_right_iccid_may_be_as_strange(answers: list[bytes]) -> None:
    # SELECT of the MF and of EF.ICCID, and its content; then anything.
    beginning = ["9000", "6208820241218002000a9000", "989909000000000010f19000"]
    link = StrangeCard([*map(bytes.fromhex, beginning), *answers])
    result = outcome(lambda link: provision_card(link, CARD), link)
    assert not isinstance(result, CardOutcome) or result.keys != "differ"


def outcome(use: Callable[[Link], object], link: Link) -> object:
    try:
        return use(link)
    except LandfallError as error:
        return str(error)
