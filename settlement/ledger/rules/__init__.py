"""The rules: what each message does to the shared state, or why not.

`decide` is pure: no I/O, no clock (time is the entry's own), no randomness. The sequencer, every validator and the
auditor run this same function, so a ledger's history means the same to all of them for ever. A change of behaviour is
a new version in `VERSIONS`, chosen by the ledger's `rules_version`; old ones stay. A ledger is founded under one and
goes up by the issuer's `upgrade-rules`, which every version knows.
"""

from settlement.ledger.envelope import Envelope
from settlement.ledger.messages import Genesis, Message, UpgradeRules
from settlement.ledger.rejections import Rejection
from settlement.ledger.rules.context import Context, Effects, Refused, Rule, authorise
from settlement.ledger.rules.identity import genesis, upgrade_rules
from settlement.ledger.rules.version_1 import RULES as VERSION_1
from settlement.ledger.rules.version_2 import RULES as VERSION_2
from settlement.ledger.state import Ledger, State

VERSIONS: dict[int, dict[type, Rule]] = {1: VERSION_1, 2: VERSION_2}

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
        if rule is not None:
            return rule(context, message)
        return _decide_unversioned(context, message)
    except Refused as refused:
        return Rejection(refused.code, refused.detail)


def _decide_unversioned(context: Context, message: Message) -> Effects:
    """What belongs to no version: going on to the next. The rest is refused."""
    if isinstance(message, UpgradeRules):
        return upgrade_rules(context, message, VERSIONS)
    version = context.ledger.rules_version
    if any(type(message) in rules for newer, rules in VERSIONS.items() if newer > version):
        raise Refused("newer-rules", f"a {type(message).__name__} is not known to rules version {version}")
    raise Refused("not-permitted", f"a {type(message).__name__} is not sent by an operator")


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
