"""Bilateral deals: forecast on past use, proposed, consented to, watched while they run, settled by the period."""
