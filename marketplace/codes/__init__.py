"""Service provider codes: from a pool or made when needed, sealed to the buyer, redeemed once."""
