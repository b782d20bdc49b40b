"""Requests, for their two parties."""
