"""Ground of Landfall: settings, PostgreSQL, keys at rest, logs and metrics, the command line's root.

Nothing here knows the domain; every other package may stand on it.
"""

from importlib.metadata import version

__version__ = version("landfall")
