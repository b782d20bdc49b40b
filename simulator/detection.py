"""The detector as a process of its own, which can open its two files and nothing else of the run.

The ground truth lies in the same folder. So that nobody has to take our word for it, the process refuses, by an audit
hook (PEP 578) installed before the detector is imported, to open any file of the run's folder but the evidence and the
reports, or to list a folder of it; that this holds is checked each time, by trying.
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Final

import msgspec

from settlement.evidence import Finding

GUARD: Final = """
import os, sys
root, allowed = os.path.realpath(sys.argv[1]), {os.path.realpath(path) for path in sys.argv[2:4]}
def guard(event, arguments):
    if event in ("open", "os.listdir", "os.scandir", "os.chdir") and isinstance(arguments[0], (str, bytes)):
        path = os.path.realpath(os.fsdecode(arguments[0]))
        if (path == root or path.startswith(root + os.sep)) and path not in allowed:
            raise PermissionError(f"the detector has no business with {path}")
    if event in ("subprocess.Popen", "os.exec", "os.fork", "os.posix_spawn", "os.system", "ctypes.dlopen.run"):
        raise PermissionError(f"the detector starts nothing: {event}")
sys.addaudithook(guard)
try:
    open(os.path.join(root, "private", "site.json")).close()
except PermissionError:
    pass
else:
    sys.exit("the guard does not hold: the ground truth can be read")
from settlement.evidence.__main__ import main
sys.exit(main(sys.argv[2:4]))
"""


async def run_detector(root: Path, evidence: Path, reported: Path) -> list[Finding]:
    """What the detector finds. `root`: the run's folder, which is closed to it. Raises `RuntimeError`."""
    environment = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        GUARD,
        str(root),
        str(evidence),
        str(reported),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
        cwd="/",
    )
    output, errors = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"the detector ended with status {process.returncode}: {errors.decode()[-2000:]}")
    return [msgspec.json.decode(line, type=Finding) for line in output.splitlines()]
