"""Logs say what happened and nothing secret; health and metrics answer."""

import base64
import json
import logging
import pickle
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from litestar import Litestar
from litestar.testing import TestClient
from prometheus_client import Counter

from landfall.observability import configure_logging, measure_requests, observability_router
from landfall.redaction import REDACTED, clean, clean_text, names_secret
from landfall.secret import Secret

IMSI = "262011234567890"
K = "465b5ce8b199b49faa5f0a2ee238a6bc"
ICCID = "8949020000000000128"


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def read_line(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(capsys.readouterr().err)
    return line


def test_a_log_line_is_one_json_object_with_time_level_and_node(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(node="home1")
    structlog.get_logger("landfall.test").info("request accepted", request="018f", amount_usdr=5_000_000)
    line = read_line(capsys)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "request accepted",
        "level": "info",
        "logger": "landfall.test",
        "node": "home1",
        "request": "018f",
        "amount_usdr": 5_000_000,
    }


def test_lines_under_the_level_are_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("warning")
    structlog.get_logger().info("quiet")
    logging.getLogger("foreign").info("quiet")
    assert capsys.readouterr().err == ""


class Profile(msgspec.Struct):
    imsi: str
    k: bytes
    slot: int


@pytest.mark.parametrize("as_json", [True, False])
def test_no_secret_reaches_the_log_by_any_way(as_json: bool, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(as_json=as_json)
    log = structlog.get_logger()
    log.info("by name", imsi=IMSI, opc=K, accessToken="abc-secret", card_key="abc-secret", adm1="abc-secret")
    log.info("in depth", profile={"subscriber": [{"Ki": "abc-secret"}]}, struct=Profile(IMSI, bytes.fromhex(K), 2))
    log.info(f"in the text {IMSI} {K} {ICCID} +79161234567", note=f"IMSI={IMSI}, K: {K.upper()}")
    log.info("wrapped", value=Secret("abc-secret"), pair=(Secret(b"abc-secret"), bytes.fromhex(K)))
    log.info("in a url", dsn="postgresql://owner:abc-secret@db/ledger")
    logging.getLogger("foreign").warning("from a library: %s %r", IMSI, {"x": K})
    logging.getLogger("foreign").warning("extra", extra={"msisdn": "79161234567"})
    try:
        raise ValueError(f"bad profile {IMSI} {K}")
    except ValueError:
        log.exception("failed")
        logging.getLogger("foreign").exception("failed too")
    said = capsys.readouterr().err
    raw_k = bytes.fromhex(K)
    for secret in (
        IMSI,
        K,
        K.upper(),
        ICCID,
        "79161234567",
        "abc-secret",
        repr(raw_k),
        base64.b64encode(raw_k).decode(),
    ):
        assert secret not in said
    assert "Traceback" in said
    assert "owner" not in said
    assert "slot" in said


@pytest.mark.parametrize(
    "name",
    (
        "k K ki Ki opc op kic kid_key adm adm1 ADM kek eid imsi home_imsi imsis msisdn iccid subscriberName "
        "token access-token accessToken client_secret password Authorization private_key"
    ).split(),
)
def test_names_of_secrets_are_known_however_they_are_written(name: str) -> None:
    assert names_secret(name)


@pytest.mark.parametrize(
    "name", ["kid", "public_key", "key_thumbprint", "operator", "event", "open", "block", "admitted"]
)
def test_names_that_only_look_alike_stay(name: str) -> None:
    assert not names_secret(name)


@pytest.mark.parametrize(
    "text",
    ["a" * 64, "0190a6a1-7e5c-7cc3-98c4-dc0c0c07398f", "2026-11-20T19:00:00.123456Z", "took 1795201200123 ms", "26201"],
)
def test_hashes_uuids_times_and_networks_stay_readable(text: str) -> None:
    assert clean_text(text) == text


@given(
    st.recursive(
        st.text() | st.integers() | st.binary(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_anything_at_all_can_be_logged(value: object) -> None:
    json.dumps(clean(value))
    assert clean({"imsi": value}) == {"imsi": REDACTED}


def test_a_secret_shows_itself_only_when_asked() -> None:
    secret = Secret("abc-secret")
    assert secret.reveal() == "abc-secret"
    assert "abc-secret" not in f"{secret} {secret!r} {[secret]}"
    with pytest.raises(TypeError):
        pickle.dumps(secret)


def test_a_process_is_live_whatever_its_dependencies_do() -> None:
    with TestClient(Litestar([observability_router({"database": refuse})])) as client:
        assert client.get("/health/live").status_code == 200


async def answer() -> None:
    return


async def refuse() -> None:
    raise ConnectionRefusedError("db.internal:5432 with password x")


def test_readiness_names_each_dependency_and_not_its_error_text(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    with TestClient(
        Litestar([observability_router({"database": answer, "ledger": refuse})], logging_config=None)
    ) as client:
        response = client.get("/health/ready")
    assert response.status_code == 503
    assert response.json() == {
        "status": "unavailable",
        "checks": {"database": "ok", "ledger": "ConnectionRefusedError"},
    }
    assert "readiness check failed" in capsys.readouterr().err
    with TestClient(Litestar([observability_router({"database": answer})])) as client:
        assert client.get("/health/ready").status_code == 200


def test_metrics_show_our_counters_and_requests_by_route() -> None:
    Counter("landfall_test_events", "Events of this test.").inc(3)
    app = Litestar([observability_router({})], middleware=[measure_requests("test")])
    with TestClient(app) as client:
        client.get("/health/live")
        text = client.get("/metrics").text
    assert "landfall_test_events_total 3.0" in text
    assert 'landfall_requests_total{app_name="test",method="GET",path="/health/live",status_code="200"} 1.0' in text


WORKERS = """
import multiprocessing
from landfall.observability import observability_router, share_metrics

def work():
    from prometheus_client import Counter
    Counter("landfall_shared", "Work of all workers.").inc(2)

if __name__ == "__main__":
    share_metrics()
    workers = [multiprocessing.Process(target=work) for _ in range(3)]
    [worker.start() for worker in workers]
    [worker.join() for worker in workers]
    from litestar import Litestar
    from litestar.testing import TestClient
    with TestClient(Litestar([observability_router({})])) as client:
        print(client.get("/metrics").text)
"""


def test_any_worker_answers_for_all_workers(tmp_path: Any) -> None:
    program = tmp_path / "workers.py"
    program.write_text(WORKERS)
    result = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=60)
    assert "landfall_shared_total 6.0" in result.stdout, result.stderr
