"""Closing a period: what was settled becomes documents, step by step, each step kept with its effect.

    POST /closings {"period": "2026-10"}        202; a task goes through the steps of `service.STEPS`
    GET  /closings/2026-10                      how far it is
    GET  /closings/2026-10/documents            what came of it

`book` reads this operator's own entries off the ledger and rates them anew, record by record; `figures` sums up what it
has of a period; `papers` and `bills` make documents of it, values from values; `service` takes the steps. Whatever
dies, the next start goes on: a document is issued once by its subject, and a message is stored in the transaction of
what causes it.
"""
