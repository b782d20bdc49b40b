"""Payments of subscribers behind one small interface: a test provider, and direct operator billing."""
