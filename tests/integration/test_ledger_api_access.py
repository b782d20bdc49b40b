"""Who may read what: tokens for assertions, roles, and nothing for third parties."""

import time
from hashlib import sha256
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from settlement.ledger.api import Entry, Page, Path, Token
from settlement.ledger.client import Rejected, message_of
from settlement.ledger.envelope import Signer
from settlement.ledger.ids import new_id
from settlement.ledger.keys import prove_possession, to_base64url
from settlement.ledger.messages import AddKey, RevokeKey
from tests.integration.ledger_world import ORIGIN, LedgerWorld, Member, decode

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def make_assertion(member: Member, signer: Signer | None = None, **claims: Any) -> str:
    signer = signer or member.keys.signer
    now = int(time.time())
    given = {"iss": member.id, "sub": member.id, "aud": ORIGIN, "iat": now, "exp": now + 60, "jti": str(new_id())}
    key = Ed25519PrivateKey.from_private_bytes(signer.key.seed)
    return jwt.encode(given | claims, key, algorithm="EdDSA", headers={"kid": signer.kid})


async def ask(ledger: LedgerWorld, assertion: str, **form: str) -> httpx.Response:
    given = {"grant_type": "client_credentials", "client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}
    async with httpx.AsyncClient(base_url=ledger.url) as http:
        return await http.post(Path.TOKEN, data=given | form)


async def account_with(ledger: LedgerWorld, token: str) -> int:
    async with httpx.AsyncClient(base_url=ledger.url) as http:
        response = await http.get(Path.ACCOUNT, headers={"authorization": f"Bearer {token}"})
        return response.status_code


async def test_an_assertion_buys_one_token_for_ten_minutes(ledger: LedgerWorld) -> None:
    async with ledger.operator() as member:
        assertion = make_assertion(member)
        response = await ask(ledger, assertion)
        assert response.headers["cache-control"] == "no-store"
        token = decode(response, Token)
        assert (token.token_type, token.expires_in) == ("Bearer", 600)
        assert await account_with(ledger, token.access_token) == 200
        replayed = await ask(ledger, assertion)
        assert replayed.status_code == 401
        assert "used before" in replayed.text


async def test_the_token_endpoint_itself_may_be_the_audience(ledger: LedgerWorld) -> None:
    async with ledger.operator() as member:
        assert (await ask(ledger, make_assertion(member, aud=f"{ledger.url}{Path.TOKEN}"))).status_code == 200


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "another.example/log"},
        {"exp": int(time.time()) - 60},
        {"exp": int(time.time()) + 3600},
        {"iss": "issuer", "sub": "issuer"},
        {"sub": "issuer"},
        {"iat": int(time.time()) + 600},
    ],
)
async def test_an_assertion_that_does_not_fit_buys_nothing(ledger: LedgerWorld, claims: dict[str, Any]) -> None:
    async with ledger.operator() as member:
        assert (await ask(ledger, make_assertion(member, **claims))).status_code == 401


async def test_only_a_signing_key_on_the_ledger_buys_tokens(ledger: LedgerWorld) -> None:
    async with ledger.operator() as member, ledger.operator() as other:
        for signer in (Signer(b"5" * 32), member.keys.recovery, other.keys.signer):
            assert (await ask(ledger, make_assertion(member, signer))).status_code == 401
        for nonsense in ("", "a.b.c", "e30.e30.e30"):
            assert (await ask(ledger, nonsense)).status_code == 401
        assert (await ask(ledger, make_assertion(member), grant_type="password")).status_code == 400


async def test_a_forged_access_token_is_refused(ledger: LedgerWorld) -> None:
    async with ledger.operator() as member:
        claims = {"aud": ORIGIN, "sub": member.id, "kid": member.keys.signer.kid, "exp": int(time.time()) + 600}
        assert await account_with(ledger, jwt.encode(claims, b"k" * 32, algorithm="HS256")) == 401
        assert await account_with(ledger, jwt.encode(claims, "", algorithm="none")) == 401
        assert await account_with(ledger, "nonsense") == 401


async def test_a_revoked_key_signs_nothing_and_its_tokens_end_with_it(ledger: LedgerWorld) -> None:
    async with ledger.operator() as member:
        old, new = member.keys.signer, Signer(new_id().bytes * 2)
        token = decode(await ask(ledger, make_assertion(member)), Token).access_token
        proof = prove_possession(new.key, ORIGIN, member.id)
        key = to_base64url(new.public)
        await member.client.submit(member.client.make(AddKey, purpose="sign", key=key, proof=proof))
        assert await account_with(ledger, token) == 200
        await member.client.submit(member.client.make(RevokeKey, kid=old.kid))
        assert await account_with(ledger, token) == 401
        assert (await ask(ledger, make_assertion(member))).status_code == 401
        with pytest.raises(Rejected) as refused:
            await member.publish()
        assert refused.value.rejection.code == "key-not-valid"
        assert (await ask(ledger, make_assertion(member, new))).status_code == 200


async def test_third_parties_see_nothing_of_two_operators_business(ledger: LedgerWorld) -> None:
    async with (
        ledger.operator(minted=5_000_000) as home,
        ledger.operator() as visited,
        ledger.operator() as stranger,
    ):
        sealed = b"only for home"
        request = await home.order(await visited.publish())
        receipt = await visited.accept(request, sealed)
        digest = sha256(sealed).hexdigest()
        for party in (home, visited):
            assert (await party.get(f"{Path.REQUESTS}/{request}")).status_code == 200
            assert (await party.get(f"{Path.PAYLOADS}/{digest}")).content == sealed
            assert (await party.get(Path.INCLUSION, index=receipt.index)).status_code == 200
            assert receipt.index in [entry.index for entry in await party.client.entries()]
        for path in (f"{Path.REQUESTS}/{request}", f"{Path.PAYLOADS}/{digest}"):
            assert (await stranger.get(path)).status_code == 404
        assert (await stranger.request("DELETE", f"{Path.PAYLOADS}/{digest}")).status_code == 404
        assert (await stranger.get(Path.INCLUSION, index=receipt.index)).status_code == 404
        assert (await stranger.get("/tile/entries/000.p/1")).status_code == 403
        assert await stranger.client.requests() == []
        assert all(stranger.id in (entry.sender, entry.counterparty) for entry in await stranger.client.entries())


async def test_an_auditor_reads_every_entry_and_trades_nothing(ledger: LedgerWorld) -> None:
    async with ledger.operator(role="auditor") as auditor, ledger.operator() as visited:
        offer = await visited.publish()
        page = decode(await auditor.get(Path.ENTRIES, limit=1000), Page[Entry])
        assert [entry.index for entry in page.items] == list(range(len(page.items)))
        entries = [entry async for entry in every_entry(auditor)]
        assert offer in [message_of(entry).id for entry in entries]
        refused = await auditor.request("PUT", f"{Path.PAYLOADS}/{sha256(b'x').hexdigest()}", content=b"x")
        assert refused.status_code == 403


async def every_entry(member: Member) -> Any:
    after = -1
    while entries := await member.client.entries(after=after, limit=500):
        after = entries[-1].index
        for entry in entries:
            yield entry


async def test_payloads_are_kept_by_digest_and_erased_for_good(ledger: LedgerWorld) -> None:
    async with ledger.operator(minted=5_000_000) as home, ledger.operator() as visited:
        sealed = b"\x00\xff" * 1000
        request = await home.order(await visited.publish())
        digest = await visited.client.put_payload(sealed)
        assert await visited.client.put_payload(sealed) == digest
        assert (await home.get(f"{Path.PAYLOADS}/{digest}")).status_code == 404
        await visited.accept(request, sealed)
        assert await home.client.payload(digest) == sealed
        await home.client.erase_payload(digest)
        with pytest.raises(Rejected) as again:
            await visited.client.put_payload(sealed)
        assert again.value.rejection.code == "already-exists"
        for party in (home, visited):
            with pytest.raises(Rejected) as refused:
                await party.client.payload(digest)
            assert refused.value.rejection.code == "not-found"


async def test_a_payload_must_fit_its_digest_and_the_limit(ledger: LedgerWorld) -> None:
    async with ledger.operator() as member:
        other = sha256(b"other").hexdigest()
        assert (await member.request("PUT", f"{Path.PAYLOADS}/{other}", content=b"this")).status_code == 400
        large = b"x" * 65_537
        place = f"{Path.PAYLOADS}/{sha256(large).hexdigest()}"
        assert (await member.request("PUT", place, content=large)).status_code == 413
        assert (await member.request("PUT", f"{Path.PAYLOADS}/nonsense", content=b"x")).status_code == 400
