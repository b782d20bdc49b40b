"""Finding offers, as their whitelists allow."""
