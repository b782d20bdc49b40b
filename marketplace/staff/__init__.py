"""Members of staff: people with tokens of their own, so that what needs two people is done by two."""
