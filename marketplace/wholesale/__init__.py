"""Offers and requests as this operator has them: published, ordered, answered, ended."""
