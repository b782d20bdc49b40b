"""`landfall settle net`: files in, JSON and pictures out, errors that name the line."""

import itertools
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from landfall.errors import LandfallError
from settlement.cli import app

DEBTS = "debtor,creditor,amount\nDEUD1,FRAF1,100.5\nFRAF1,ITAI1,80\nITAI1,DEUD1,70.000001\n"


def _net(*arguments: object) -> dict[str, object]:
    run = CliRunner().invoke(app, ["net", *map(str, arguments), "--json"])
    if run.exception and not isinstance(run.exception, SystemExit):
        raise run.exception
    assert run.exit_code == 0, run.output
    answer = json.loads(run.stdout)
    assert isinstance(answer, dict)
    return answer


@pytest.fixture
def debts(tmp_path: Path) -> Path:
    file = tmp_path / "debts.csv"
    file.write_text(DEBTS)
    return file


def test_json_has_the_figures_and_the_remaining_debts(debts: Path) -> None:
    answer = _net(debts, "--method", "setoff")
    assert answer["gross_before"] == 250_500_001
    assert answer["gross_after"] == 40_499_998
    assert answer["saved_percent"] == 83.83
    assert answer["remaining"] == [
        {"debtor": "DEUD1", "creditor": "FRAF1", "amount": 30_499_999},
        {"debtor": "FRAF1", "creditor": "ITAI1", "amount": 9_999_999},
    ]
    assert "solver_s" in answer


def test_whole_micro_sdrt_have_a_header_of_their_own(tmp_path: Path) -> None:
    file = tmp_path / "debts.csv"
    file.write_text("\ufeffcreditor,note,debtor,amount_usdr\nB,x,A,7\nA,y,B,5\n", encoding="utf-8")
    assert _net(file, "--method", "novation")["gross_after"] == 2


def test_caps_and_exclusions_are_kept(debts: Path, tmp_path: Path) -> None:
    caps = tmp_path / "caps.csv"
    caps.write_text("debtor,creditor,cap\nFRAF1,ITAI1,10\n")
    assert _net(debts, "--method", "setoff", "--caps", caps)["gross_after"] == 220_500_001
    assert _net(debts, "--method", "setoff", "--exclude", "ITAI1,FRAF1")["gross_after"] == 250_500_001


@pytest.mark.parametrize(("ending", "method"), [("svg", "setoff"), ("html", "novation")])
def test_the_picture_is_complete_in_itself(debts: Path, tmp_path: Path, ending: str, method: str) -> None:
    file = tmp_path / f"netting.{ending}"
    _net(debts, "--method", method, "--picture", file)
    text = file.read_text()
    assert "href" not in text
    assert "src=" not in text
    ElementTree.fromstring(text[text.index("<svg") : text.index("</svg>") + 6])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a,b,c\n", "line 1: the header is 'a,b,c': write debtor,creditor,amount"),
        ("", "line 1: the header is ''"),
        (DEBTS + "X,Y,12,5\n", "line 5: 4 columns, the header has 3"),
        (DEBTS + "X,Y,-3\n", "line 5: amount: '-3' is no amount"),
        (DEBTS + "X,Y,1.0000001\n", "line 5: amount: '1.0000001' is no amount"),
        (DEBTS + "X,Y,1e3\n", "line 5: amount: '1e3'"),
        (DEBTS + "X,Y,0\n", "line 5: amount is 0"),
        (DEBTS + "X, X,1\n", "line 5: debtor and creditor are both 'X'"),
        (DEBTS + ",X,1\n", "line 5: debtor is ''"),
        (DEBTS + 'X,"Y,1\n', "after line 4: no CSV"),
        (DEBTS + "X,Y\0,1\n", "line 5: creditor is 'Y\\x00'"),
        ("debtor,creditor,amount" + ",c" * 1_000_000 + "\n", "line 1: 1000003 columns, at most 1000"),
        ("debtor,creditor,amount_usdr\nX,Y,1.5\n", "line 2: amount_usdr: '1.5' is no whole number"),
    ],
)
def test_a_bad_file_is_refused_with_line_and_value(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "debts.csv"
    file.write_text(text)
    with pytest.raises(LandfallError) as refused:
        _net(file, "--method", "setoff")
    assert why in str(refused.value)
    assert str(file) in str(refused.value)


def test_other_encodings_and_missing_files_are_told(tmp_path: Path) -> None:
    file = tmp_path / "debts.csv"
    with pytest.raises(LandfallError, match="cannot be read"):
        _net(file, "--method", "setoff")
    file.write_bytes(DEBTS.encode() + "Ростелеком,Y,1\n".encode("cp1251"))
    with pytest.raises(LandfallError, match="line 5, debtor: byte 0xd0 is not UTF-8"):
        _net(file, "--method", "setoff")
    file.write_bytes(DEBTS.encode("utf-16"))
    with pytest.raises(LandfallError, match="line 1: is UTF-16"):
        _net(file, "--method", "setoff")


@pytest.mark.parametrize("option", [["--exclude", "DEUD1"], ["--picture", "x.png"], ["--hub", "DEUD1"]])
def test_a_bad_option_is_told(debts: Path, option: list[str]) -> None:
    with pytest.raises(LandfallError, match=option[1]):
        _net(debts, "--method", "novation", *option)


def test_names_in_the_picture_keep_apart_however_short_their_tracks(tmp_path: Path) -> None:
    file = tmp_path / "debts.csv"
    debts = [f"OP{n},OP{(n * 7 + step) % 300},{1 + n % 9}" for n in range(300) for step in range(1, 4)]
    kept = [line for line in debts if len(set(line.split(",")[:2])) == 2]
    file.write_text("\n".join(["debtor,creditor,amount", *kept]) + "\n")
    _net(file, "--method", "novation", "--picture", tmp_path / "netting.svg")
    rings = [
        group
        for group in ElementTree.parse(tmp_path / "netting.svg").getroot().iter("{http://www.w3.org/2000/svg}g")
        if len(group.findall("{http://www.w3.org/2000/svg}text")) > 3
    ]
    assert len(rings) == 2
    for ring in rings:
        names = [text for text in ring.findall("{http://www.w3.org/2000/svg}text") if "x" in text.attrib]
        for side in ("start", "end"):
            heights = sorted(float(text.attrib["y"]) for text in names if text.attrib["text-anchor"] == side)
            assert all(below - above > 12 for above, below in itertools.pairwise(heights))
