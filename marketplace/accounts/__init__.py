"""An operator's own balances."""
