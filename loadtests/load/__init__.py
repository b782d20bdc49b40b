"""Load by Locust: users who sign through the SDK, and a run that fails where one transaction is lost.

    plan.py       what a run is: target, operators' keys, mix of roles, shape of the load; a file that workers are given
    setting.py    the traders of a run: admitted, funded, with offers; home.py a home operator's node with cards
    locustfile.py what Locust loads; one role each in buying, visiting, reading, auditing, subscribing
    bridge.py     Locust's greenlets on one side, the SDK's event loop on the other (docs/decisions/0195)
    journal.py    what a worker sent and what was acknowledged to it, written before and after
    check.py      all journals (gathered.py) against the log: nothing lost, doubled or unproven
    cli.py        `landfall load`: run, worker, check

A run in order: the plan is made; Locust's master and workers run it; users send and journal; at the end every worker
lets its users finish, closes its journal and sends it to the master; the journals are checked against the log; table,
HTML and JSON are written. The exit status is 0 only when the check finds nothing.
"""
