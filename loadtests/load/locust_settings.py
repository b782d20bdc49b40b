"""What Locust's processes and who starts them agree on; imported by both, so without Locust."""

from typing import Final

from msgspec import Struct

PLAN_VARIABLE: Final = "LANDFALL_LOAD_PLAN"
"""Environment variable with the plan's path."""
JOURNALS: Final = "journals"
"""Folder beside the plan."""
LOGS: Final = "logs"
"""Folder beside the plan: what Locust's processes and the nodes of the run say."""
ASIDE: Final = "aside.json"
"""File beside the plan: what the master knows that is not in Locust's figures (`Aside`)."""


class Aside(Struct, frozen=True):
    """`begun`: when users began, as `time.time` has it. `errors`: in our own code, that ended turns of users, by how
    often. `processor`: seconds by process.
    """

    begun: float
    errors: dict[str, int]
    processor: dict[str, float]
