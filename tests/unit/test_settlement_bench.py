"""The benchmark of settlement runs, small."""

import json
from pathlib import Path

from loadtests.settlement_bench import main


def test_the_settlement_benchmark_runs_and_finds_what_it_put_in(tmp_path: Path) -> None:
    output = tmp_path / "bench.json"
    main(scale=0.002, output=output)
    rows = json.loads(output.read_text())["figures"]
    assert len({row["name"] for row in rows}) == len(rows) >= 7
    assert all(row["value"] > 0 for row in rows)
