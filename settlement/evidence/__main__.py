"""`python -m settlement.evidence EVIDENCE.jsonl REPORTED.jsonl` prints findings as JSON Lines."""

import sys
from pathlib import Path

import msgspec

from settlement.evidence import EvidenceError, detect, read_evidence, read_reported


def main(arguments: list[str]) -> int:
    """Two files in, findings out."""
    if len(arguments) != 2:
        sys.stderr.write("usage: python -m settlement.evidence EVIDENCE.jsonl REPORTED.jsonl\n")
        return 2
    try:
        for finding in detect(read_evidence(Path(arguments[0])), read_reported(Path(arguments[1]))):
            sys.stdout.buffer.write(msgspec.json.encode(finding) + b"\n")
    except EvidenceError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
