"""Cards: a software UICC with a multi-account application, and the reader contract through which any card is reached.

Of `ota` this package uses only `ota.scp80` and `ota.profile`: what a card must understand of the air.
"""
