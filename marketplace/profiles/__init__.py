"""The pool of mobile profiles of one's own networks: free, assigned, active, quarantined; a K is issued once."""
