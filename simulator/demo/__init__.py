"""The demonstration: a whole marketplace on one machine, played from an offer to settled usage, and checked as it goes.

`play_demo` is all that others need; `landfall demo` calls it.
"""
