"""The two faces of Landfall: the neutral market (`ledger_app`) and the operator's own node (`operator_app`)."""
