"""Agreeing with partners on every record, from the operator's desk.

    run        our records against theirs (`service`): each difference, a *break*, becomes a *case* or is recognised
    evidence   what cards, meters and own records say against usage reports (`evidence`): each finding becomes a case
    propose    a member of staff says how a case should end, and why
    confirm    another member agrees, or sends it back
    dispute    a confirmed case is raised on the ledger (`disputes`), whose steps come back into the case

What a case is and what may happen to it is pure (`model`): the case is what its events make of it, and events are only
ever added. Usage that the ledger settled is taken from one's own entries, charge by charge (`reported`).
"""
