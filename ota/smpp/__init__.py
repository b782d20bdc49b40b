"""SMPP 3.4: PDUs (`pdu`), receipts (`receipt`), one connection (`session`), the client (`esme`), cards (`carrier`)."""
