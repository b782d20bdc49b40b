"""Requests for bids: what buyers look for."""
