"""What Locust's processes and who starts them agree on; imported by both, so without Locust."""

from typing import Final

PLAN_VARIABLE: Final = "LANDFALL_LOAD_PLAN"
"""Environment variable with the plan's path."""
JOURNALS: Final = "journals"
"""Folder beside the plan."""
