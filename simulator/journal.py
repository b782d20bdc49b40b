"""The run folder: enough to go on after the simulator was killed, with nothing done twice.

    run.json                    scenario, seed, when it began
    scenario.toml               the scenario as it was
    private/steps/0003.begun    what a step saw of the outside world when it began (clock, balances)
    private/steps/0003.json     what became of it
    private/truth/0003.parquet  every record it simulated, and what was reported instead: the ground truth
    evidence/0003.jsonl         what the home operators learn
    private/state.npz           journeys after the last whole step; renamed into place last, so it is the commit

Everything a step sends follows from the seed, the state before it and its `begun` file, to the octet. A step that was
broken off is therefore simply done again: what the ledger has of it already it answers with the first receipt.
"""

import os
import time
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from landfall import __version__
from landfall.errors import LandfallError

RUN_FILE: Final = "run.json"
STATE_FILE: Final = "private/state.npz"
EVIDENCE: Final = "evidence"
TRUTH: Final = "private/truth"

SAME: Final = ("scenario", "seed", "ledger", "subscribers", "osmo")
"""What of a run must be as it was for it to go on."""

T = TypeVar("T")


class Run(Struct, frozen=True, kw_only=True):
    """What is simulated in a folder."""

    scenario: str
    seed: int
    began_ms: int
    ledger: str | None = None
    subscribers: int | None = None
    """How many, where the scenario was told another number."""
    osmo: bool = False
    """Whether osmo-hlr knows the guests: another HLR would not."""
    version: str = __version__


class Begun(Struct, frozen=True, kw_only=True):
    """What a step saw as it began: the minute since the epoch, balances that are needed (µSDRt), how late it was."""

    minute: int
    available: dict[str, int] = {}
    behind_s: float = 0.0


class Journal:
    """A run's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._steps = folder / "private" / "steps"

    def open(self, run: Run, text: str) -> Run:
        """The run of this folder, begun now or earlier. Raises `LandfallError` when the folder is another run's."""
        path = self.folder / RUN_FILE
        if path.exists():
            known = msgspec.json.decode(path.read_bytes(), type=Run)
            same = all(getattr(known, name) == getattr(run, name) for name in SAME)
            if not same or (self.folder / "scenario.toml").read_text("utf-8") != text:
                raise LandfallError(
                    f"{self.folder} has a run of {known.scenario}, seed {known.seed}, with other options, or of "
                    "another version of that scenario: name another --folder, or begin anew with --fresh"
                )
            return known
        (self.folder / "private").mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ("private/steps", TRUTH, EVIDENCE):
            (self.folder / name).mkdir(exist_ok=True)
        (self.folder / "scenario.toml").write_text(text, "utf-8")
        write_whole(path, msgspec.json.encode(run))
        return run

    def begin(self, step: int, available: dict[str, int], behind_s: float = 0.0) -> Begun:
        """What the step saw when it first began: now, unless it was broken off before."""
        path = self._steps / f"{step:04}.begun"
        if path.exists():
            return msgspec.json.decode(path.read_bytes(), type=Begun)
        begun = Begun(minute=int(time.time()) // 60, available=available, behind_s=round(behind_s, 3))
        write_whole(path, msgspec.json.encode(begun))
        return begun

    def has_begun(self, step: int) -> bool:
        """Whether the step was begun before."""
        return (self._steps / f"{step:04}.begun").exists()

    def finish(self, step: int, outcome: Struct, state: dict[str, NDArray[Any]]) -> None:
        """Write what became of a step, and then, as its commit, the state after it."""
        write_whole(self._steps / f"{step:04}.json", msgspec.json.encode(outcome))
        path = self.folder / STATE_FILE
        draft = path.with_suffix(".new.npz")
        with draft.open("wb") as file:
            arrays: dict[str, Any] = {**state, "step": np.array(step)}
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)

    def restore(self) -> tuple[int, dict[str, NDArray[Any]]] | None:
        """The last whole step and the state after it; None where nothing is done yet."""
        path = self.folder / STATE_FILE
        if not path.exists():
            return None
        with np.load(path) as kept:
            state = {name: kept[name] for name in kept.files}
        return int(state.pop("step")), state

    def outcomes(self, kind: type[T], steps: int) -> list[T]:
        """What became of the first `steps` steps."""
        return [msgspec.json.decode((self._steps / f"{step:04}.json").read_bytes(), type=kind) for step in range(steps)]

    def truth(self, step: int) -> Path:
        """The step's file of ground truth."""
        return self.folder / TRUTH / f"{step:04}.parquet"

    def tap(self, operator: str, step: int) -> Path:
        """The TAP file of an operator's step."""
        folder = self.folder / "private" / "tap"
        folder.mkdir(exist_ok=True)
        return folder / f"{operator}-{step:04}.tap"

    def evidence(self, step: int) -> Path:
        """The step's file of evidence."""
        return self.folder / EVIDENCE / f"{step:04}.jsonl"


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that is there whole or not at all, whatever dies."""
    draft = path.with_name(path.name + ".new")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
