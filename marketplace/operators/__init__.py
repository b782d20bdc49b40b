"""Who takes part, and with which keys: public."""
