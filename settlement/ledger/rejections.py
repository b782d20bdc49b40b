"""Every answer that is not "accepted": a code, an HTTP status, a title and what to do.

`docs/rejections.md` is `rejections_page()`, and a test keeps it so.
"""

from typing import Final

from msgspec import Struct


class Code(Struct, frozen=True):
    """One row of `docs/rejections.md`."""

    status: int
    title: str
    remedy: str


class Rejection(Struct, frozen=True, gc=False, omit_defaults=True):
    """Why a transaction was not accepted: nothing has moved and it is not remembered. `detail` names the value."""

    code: str
    detail: str


CODES: Final[dict[str, Code]] = {
    # the envelope
    "malformed": Code(
        400, "The envelope cannot be read", "Mend what the detail names; docs/protocol.md gives the form."
    ),
    "too-large": Code(413, "The envelope is too large", "Split it: an entry is at most 65,535 bytes with its time."),
    "wrong-audience": Code(400, "The envelope is for another ledger", "Set aud to this log's origin and sign again."),
    "unknown-key": Code(401, "No operator has this key", "Check kid, or have the key added first."),
    "bad-signature": Code(
        401, "The signature does not fit", "Sign the exact bytes that are sent, with the key kid names."
    ),
    "weak-key": Code(400, "The public key is not a safe Ed25519 point", "Make a new key pair and send that."),
    "key-not-valid": Code(
        403, "The key may not sign now", "Use a key that is not revoked, replaced or of another purpose."
    ),
    "expired": Code(422, "The envelope was not accepted in time", "Sign it again with a later exp."),
    "conflict": Code(
        409, "The id was used for other bytes", "Take a new id; ask for the first receipt by the old one."
    ),
    "overloaded": Code(503, "The ledger has too much to do", "Send again after Retry-After; ids make that safe."),
    "internal": Code(500, "The ledger made a mistake", "Nothing was taken; tell the ledger's operator the id."),
    # who and what
    "not-permitted": Code(403, "The sender may not do this", "Only the party the detail names may."),
    "unknown-operator": Code(404, "No such operator", "Check the operator id."),
    "unknown-offer": Code(404, "No such offer, or not for the sender", "Search the offers again."),
    "unknown-request": Code(404, "No such request", "Check the request id and that its entry was accepted."),
    "unknown-redemption": Code(404, "No such redemption", "Check the redemption id."),
    "unknown-obligation": Code(404, "No such obligation", "Check the id; only its debtor and creditor see it."),
    "unknown-proposal": Code(
        404, "No such proposal", "Cite the leaf hash of the proposing entry; only its parties see it."
    ),
    "unknown-deal": Code(404, "No such deal", "Check the deal's id; only its two parties see it."),
    "unknown-dispute": Code(404, "No such dispute", "Check the id; only its two parties and the issuer act on it."),
    "unknown-entry": Code(
        404, "The cited entry is not what it is said to be", "Cite index and leaf hash as the entry's receipt has them."
    ),
    "already-exists": Code(409, "There is one of this name", "Choose another id or reference."),
    "wrong-state": Code(409, "It is not in a state for this", "Read its state; docs/protocol.md has the table."),
    "too-early": Code(409, "This is not yet allowed", "Wait until the time the detail names."),
    "too-late": Code(409, "The time for this has passed", "See the time the detail names."),
    "newer-rules": Code(
        422,
        "The ledger is under an older version of the rules",
        "Leave out what is new, or ask the issuer to upgrade the ledger's rules.",
    ),
    # offers and money
    "offer-closed": Code(409, "The offer takes no new requests", "Take the newer version or another offer."),
    "out-of-stock": Code(409, "Nothing of the offer is left", "Take another offer."),
    "invalid-terms": Code(
        422, "The terms contradict themselves or the ledger's parameters", "Mend what the detail names."
    ),
    "wrong-escrow": Code(422, "The escrow does not fit the tariff", "Send the amount the detail names."),
    "insufficient-funds": Code(402, "Too little SDRt is available", "Have SDRt minted or wait for requests to close."),
    "too-much": Code(422, "The amount is more than there is to it", "Send at most the amount the detail names."),
    "overflow": Code(422, "The amount exceeds what a balance can hold", "Split the amount."),
    # netting
    "obligation-changed": Code(
        409, "An obligation is not as the cycle says", "Read what remains of it and propose anew."
    ),
    "not-balanced": Code(
        422, "The cycle changes somebody's net position", "Mend the reductions of whom the detail names."
    ),
    "beyond-cap": Code(
        422, "More of a pair's debts is netted than its cap allows", "Net less of it, or agree on another cap."
    ),
    # usage
    "out-of-sequence": Code(409, "The usage group is not the next one", "Send the sequence the detail names."),
    "mixed-homes": Code(422, "One report names requests of several home operators", "Make one report a home operator."),
    "duplicate-request": Code(422, "One report has a request twice", "Join the two groups."),
    "not-sold": Code(422, "The offer does not sell this service", "Leave the record out."),
    "out-of-coverage": Code(422, "The record's place is not covered by the offer", "Leave the record out."),
    "out-of-time": Code(422, "The record lies outside the request's time", "Leave the record out."),
    # refused within an accepted report: the rest settles
    "allowance-exhausted": Code(200, "The bundle's allowance is used up", "Bar the subscriber or sell a new request."),
    "beyond-escrow": Code(200, "The escrow does not cover all of it", "Bar the subscriber or sell a new request."),
    # the origin's own
    "wrong-digest": Code(409, "The state digest is not this log's", "Only the sequencer writes digests."),
    # reading over HTTP
    "unauthorized": Code(401, "A valid bearer token is needed", "Get one from POST /v1/token with a client assertion."),
    "not-found": Code(
        404, "There is nothing here for the sender", "Check the address; what is not yours is not shown."
    ),
}


def rejections_page() -> str:
    """The table as people read it: the text of docs/rejections.md."""
    rows = (f"| `{code}` | {row.status} | {row.title} | {row.remedy} |" for code, row in CODES.items())
    return "\n".join(
        (
            "# Rejections",
            "",
            "A rejected envelope has moved nothing and is not remembered: it may be sent again. HTTP answers are",
            "RFC 9457 problems with `code`, a `detail` that names the value, and the remedy. Codes with status 200",
            "stand inside an accepted usage report: their record did not settle, or not whole; the others did.",
            "",
            "| code | HTTP | what was wrong | what to do |",
            "|---|---|---|---|",
            *rows,
            "",
        )
    )
