"""Who takes part and with which keys: genesis, admission, rotation, revocation, recovery."""

from collections.abc import Collection

from msgspec import UNSET, structs

from settlement.ledger.envelope import Envelope
from settlement.ledger.keys import (
    InvalidKey,
    from_base64url,
    proves_possession,
    read_signing_key,
    seal_key_id,
    thumbprint,
)
from settlement.ledger.messages import AddKey, Admit, Genesis, Party, Recover, RevokeKey, UpgradeRules
from settlement.ledger.rules.context import RESERVED, Context, Effects, Refused
from settlement.ledger.state import Account, Key, Ledger, Operator, Row


def genesis(envelope: Envelope, *, origin: str, public: bytes, time: int) -> Effects:
    """Found the ledger: its row, the origin's key and the issuer. Signed with the origin's key."""
    message = envelope.message
    assert isinstance(message, Genesis)
    if message.aud != origin:
        raise Refused("wrong-audience", f"aud is {message.aud!r}, this log is {origin!r}")
    if envelope.kid != thumbprint(public):
        raise Refused("unknown-key", f"genesis must be signed with the origin's key {thumbprint(public)}")
    if message.issuer.id == RESERVED:
        raise Refused("already-exists", f"the id {RESERVED} stands for the log itself")
    if message.issuer.role != "issuer":
        raise Refused("invalid-terms", f"the issuer's role is {message.issuer.role!r}, it must be 'issuer'")
    if message.rules_version < 2 and message.parameters.settlement is not UNSET:
        raise Refused("newer-rules", "parameters.settlement is not known to rules version 1")
    ledger = Ledger(
        origin=origin,
        rules_version=message.rules_version,
        issuer=message.issuer.id,
        parameters=message.parameters,
        minted=0,
        burned=0,
    )
    own = Key(kid=thumbprint(public), operator=RESERVED, purpose="origin", public=public, since=time, until=None)
    rows = _party_rows(message.issuer, time)
    if own.kid in {row.kid for row in rows if isinstance(row, Key)}:
        raise Refused("already-exists", "the issuer's keys must not be the origin's")
    return Effects((ledger, own, *rows))


def upgrade_rules(context: Context, message: UpgradeRules, known: Collection[int]) -> Effects:
    """From the next entry on the ledger is under a newer version of the rules, one that this program knows."""
    ledger = context.ledger
    if context.sender.id != ledger.issuer:
        raise Refused("not-permitted", f"only the issuer {ledger.issuer} upgrades the rules, not {context.sender.id}")
    if message.version <= ledger.rules_version:
        raise Refused("wrong-state", f"the rules are of version {ledger.rules_version} already: they only go up")
    if message.version not in known:
        raise Refused("newer-rules", f"rules version {message.version} is unknown: the newest here is {max(known)}")
    return Effects((structs.replace(ledger, rules_version=message.version),))


def admit(context: Context, message: Admit) -> Effects:
    """The issuer, as registrar, admits a party with an empty account."""
    if context.sender.id != context.ledger.issuer:
        raise Refused("not-permitted", f"only the issuer {context.ledger.issuer} admits, not {context.sender.id}")
    party = message.party
    if party.id == RESERVED or context.state.get(Operator, party.id) is not None:
        raise Refused("already-exists", f"there is an operator {party.id}")
    if party.role == "issuer":
        raise Refused("invalid-terms", "a ledger has one issuer, named at genesis")
    rows = _party_rows(party, context.time)
    for row in rows:
        if isinstance(row, Key):
            _refuse_known(context, row.kid)
    return Effects(rows, counterparty=party.id)


def _party_rows(party: Party, time: int) -> tuple[Row, ...]:
    operator = Operator(
        id=party.id,
        name=party.name,
        country=party.country,
        tadig=party.tadig,
        plmns=party.plmns,
        role=party.role,
        admitted=time,
    )
    sign, recovery = _signing_key(party.key), _signing_key(party.recovery_key)
    if sign == recovery:
        raise Refused("already-exists", "the recovery key must not be the signing key")
    return (
        operator,
        Account(operator=party.id, available=0, escrow=0, held=0),
        Key(kid=thumbprint(sign), operator=party.id, purpose="sign", public=sign, since=time, until=None),
        Key(kid=thumbprint(recovery), operator=party.id, purpose="recovery", public=recovery, since=time, until=None),
    )


def add_key(context: Context, message: AddKey) -> Effects:
    """A further signing or seal key; with `replaces`, an older one ends at `until`."""
    sender = context.sender.id
    if message.purpose == "sign":
        public = _signing_key(message.key)
        _require_possession(context, public, message.proof)
        kid = thumbprint(public)
    else:
        try:
            public = from_base64url(message.key.encode())
        except ValueError as error:
            raise Refused("malformed", f"the seal key cannot be read: {error}") from None
        if public.startswith(b"{"):  # else a key's JWK, registered as a seal key, would take that key's name
            raise Refused("malformed", "a seal key begins with the octet of its suite, which is not '{'")
        kid = seal_key_id(public)
    _refuse_known(context, kid)
    rows: list[Row] = [
        Key(kid=kid, operator=sender, purpose=message.purpose, public=public, since=context.time, until=None)
    ]
    if message.replaces is not None:
        old = _own_open_key(context, message.replaces)
        if old.purpose != message.purpose:
            raise Refused("invalid-terms", f"the key {old.kid} is a {old.purpose} key, not a {message.purpose} key")
        until = context.time if message.until is None else max(message.until, context.time)
        rows.append(structs.replace(old, until=until if old.until is None else min(until, old.until)))
    return Effects(tuple(rows))


def revoke_key(context: Context, message: RevokeKey) -> Effects:
    """The key signs nothing from this entry on. Not the recovery key: a thief of a signing key must not lock it out."""
    key = _own_open_key(context, message.kid)
    if key.purpose == "recovery":
        raise Refused("not-permitted", "a recovery key is not revoked; recover replaces it")
    return Effects((structs.replace(key, until=context.time),))


def recover(context: Context, message: Recover) -> Effects:
    """With the recovery key: end every signing key and the recovery key, install new ones."""
    if context.key.purpose != "recovery":
        raise Refused("key-not-valid", "a recovery is signed with the recovery key")
    sender, time = context.sender.id, context.time
    sign, recovery = _signing_key(message.key), _signing_key(message.recovery_key)
    _require_possession(context, sign, message.proof)
    for public in (sign, recovery):
        _refuse_known(context, thumbprint(public))
    if sign == recovery:
        raise Refused("already-exists", "the recovery key must not be the signing key")
    ended = [
        structs.replace(key, until=time)
        for key in context.state.all(Key)
        if key.operator == sender and key.purpose in ("sign", "recovery") and (key.until is None or key.until > time)
    ]
    return Effects(
        (
            *sorted(ended, key=lambda key: key.kid),
            Key(kid=thumbprint(sign), operator=sender, purpose="sign", public=sign, since=time, until=None),
            Key(kid=thumbprint(recovery), operator=sender, purpose="recovery", public=recovery, since=time, until=None),
        )
    )


def _signing_key(text: str) -> bytes:
    try:
        return read_signing_key(text)
    except InvalidKey as error:
        raise Refused("weak-key", str(error)) from None


def _require_possession(context: Context, public: bytes, proof: str | None) -> None:
    if proof is None or not proves_possession(public, proof, context.ledger.origin, context.sender.id):
        raise Refused("bad-signature", "proof must be the new key's signature over origin and operator")


def _refuse_known(context: Context, kid: str) -> None:
    if context.state.get(Key, kid) is not None:
        raise Refused("already-exists", f"the key {kid} is on the ledger")


def _own_open_key(context: Context, kid: str) -> Key:
    key = context.state.get(Key, kid)
    if key is None or key.operator != context.sender.id:
        raise Refused("unknown-key", f"{context.sender.id} has no key {kid}")
    if key.until is not None and key.until <= context.time:
        raise Refused("key-not-valid", f"the key {kid} has ended already")
    return key
