"""Packages: other operators' offers bundled, priced in local currency, the margin seen before publishing."""
