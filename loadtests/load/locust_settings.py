"""What Locust's processes and who starts them agree on; imported by both, so without Locust."""

from typing import Final

PLAN_VARIABLE: Final = "LANDFALL_LOAD_PLAN"
"""Environment variable with the plan's path."""
JOURNALS: Final = "journals"
"""Folder beside the plan."""
ERRORS: Final = "errors.json"
"""File beside the plan: errors in our own code that ended turns of users, as the master heard of them."""
