"""Another implementation of TAP 3.12, pycrate's, reads what we write and writes what we read."""

from pathlib import Path
from typing import Any

from pycrate_asn1dir import TAP3

from settlement.usage.tap3.ber import decode_element, encode_element, grammar
from settlement.usage.tap3.checks import validate
from settlement.usage.tap3.rap import write_return
from settlement.usage.tap3.writer import write_batch
from tests import tap_batch

DIGITS = {"imsi", "msisdn", "imei", "calledNumber", "callingNumber", "requestedNumber", "thirdPartyNumber"}


def theirs(value: Any, name: str = "") -> Any:
    """Their form of a value as ours: choices as objects, octets as text, digits or hexadecimal."""
    if isinstance(value, tuple):
        return {value[0]: theirs(value[1], value[0])}
    if isinstance(value, dict):
        return {field: theirs(inner, field) for field, inner in value.items()}
    if isinstance(value, list):
        return [theirs(inner) for inner in value]
    if isinstance(value, bytes):
        if name in DIGITS:
            return value.hex().upper().removesuffix("F")
        return value.hex() if name == "callReference" else value.decode("latin-1")
    return value


def test_pycrate_reads_a_batch_of_every_event_as_we_do(tmp_path: Path) -> None:
    path = tmp_path / "batch.tap"
    events = tap_batch.one_of_each()
    write_batch(path, tap_batch.header(), events)
    interchange = TAP3.TAP_0312.DataInterChange
    interchange.from_ber(path.read_bytes())
    kind, batch = interchange.get_val()
    read = theirs(batch)
    assert kind == "transferBatch"
    assert read["callEventDetails"] == events
    assert {name: read[name] for name in tap_batch.header()} == tap_batch.header()


def test_we_read_what_pycrate_writes() -> None:
    element = TAP3.TAP_0312.CallEventDetail
    for event in tap_batch.one_of_each():
        element.from_ber(encode_element(grammar("CallEvent"), event))
        again = element.to_ber()
        assert decode_element(grammar("CallEvent"), again) == event


def test_pycrate_reads_a_return_as_we_wrote_it() -> None:
    detail = {
        "severeReturn": {
            "fileSequenceNumber": "00007",
            "callEventDetail": tap_batch.call(),
            "errorDetail": [
                {"errorContext": [{"pathItemId": 9, "itemOccurrence": 1, "itemLevel": 1}], "errorCode": 30},
            ],
        }
    }
    other = TAP3.RAP_0105.ReturnDetail
    other.from_ber(encode_element(grammar("ReturnDetail"), detail))
    assert theirs(other.get_val()) == detail


def test_pycrate_reads_a_whole_return_batch(tmp_path: Path) -> None:
    bad = tap_batch.session()
    bad["gprsCall"]["gprsLocationInformation"]["gprsNetworkLocation"]["recEntity"] = [9]
    path, out = tmp_path / "batch.tap", tmp_path / "out.rap"
    write_batch(path, tap_batch.header(), [tap_batch.call(), bad])
    write_return(out, path, validate(path), sequence=3, created_s=1_793_523_600, missing=[("00003", "00004")])
    interchange = TAP3.RAP_0105.RapDataInterChange
    interchange.from_ber(out.read_bytes())
    kind, value = interchange.get_val()
    read = theirs(value)
    assert kind == "returnBatch"
    assert [next(iter(detail)) for detail in read["returnDetails"]] == ["missingReturn", "severeReturn"]
    assert read["returnDetails"][1]["severeReturn"]["callEventDetail"] == bad
    assert read["rapAuditControlInfo"] == {"totalSevereReturnValue": 3000, "returnDetailsCount": 2}
