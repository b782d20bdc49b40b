"""Subscribers and their cards: the only place where a person is known."""
