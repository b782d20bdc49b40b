"""The rules: what each message does to the shared state, or why not.

`decide` is pure: no I/O, no clock (time is the entry's own), no randomness. The sequencer, every validator and the
auditor run this same function, so a ledger's history means the same to all of them for ever. A change of behaviour is
a new version in `VERSIONS`, chosen by the ledger's `rules_version`; old ones stay.
"""

from settlement.ledger.envelope import Envelope
from settlement.ledger.messages import Genesis
from settlement.ledger.rejections import Rejection
from settlement.ledger.rules.context import Effects, Refused, Rule, authorise
from settlement.ledger.rules.identity import genesis
from settlement.ledger.rules.version_1 import RULES as VERSION_1
from settlement.ledger.state import Ledger, State

VERSIONS: dict[int, dict[type, Rule]] = {1: VERSION_1}

__all__ = ["VERSIONS", "Effects", "decide", "found"]


def decide(envelope: Envelope, *, origin: str, time: int, state: State) -> Effects | Rejection:
    """What the envelope does at `time` (milliseconds since the epoch) to `state`: rows to put, or a rejection.

    The envelope's signature must have been verified against the key its kid names; whether that key may sign now is
    decided here. The state is not changed.
    """
    message = envelope.message
    try:
        ledger = state.get(Ledger, origin)
        if ledger is None:
            raise Refused("wrong-state", "the ledger has no genesis yet")
        context = authorise(envelope, ledger, time, state)
        rule = VERSIONS[ledger.rules_version].get(type(message))
        if rule is None:
            raise Refused("not-permitted", f"a {type(message).__name__} is not sent by an operator")
        return rule(context, message)
    except Refused as refused:
        return Rejection(refused.code, refused.detail)


def found(envelope: Envelope, *, origin: str, public: bytes, time: int) -> Effects | Rejection:
    """What the genesis entry does: it makes the first rows. `public` is the origin's key, known from outside."""
    if not isinstance(envelope.message, Genesis):
        return Rejection("wrong-state", f"the first entry must be a genesis, not {type(envelope.message).__name__}")
    try:
        if envelope.message.rules_version not in VERSIONS:
            raise Refused("invalid-terms", f"rules version {envelope.message.rules_version} is unknown to this program")
        return genesis(envelope, origin=origin, public=public, time=time)
    except Refused as refused:
        return Rejection(refused.code, refused.detail)
