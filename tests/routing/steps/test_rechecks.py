"""Whether what identified the caller of an open connection still does."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from routing.authentication.api_keys import ApiKeys, KeyRecord, generate_api_key
from routing.authentication.authenticator import Authenticator, Credential
from routing.authentication.certificates.callers import CertificateCallers
from routing.authentication.certificates.certificate import ClientCertificate, describe
from routing.authentication.issuer_policy import Algorithm, ClaimNames, Issuer
from routing.authentication.proof import Proof
from routing.authentication.revocations import NONE, Revocation, Revocations
from routing.authentication.signatures.algorithms import SignatureAlgorithm
from routing.authentication.signatures.keys import SigningKey
from routing.authentication.token_consumers import TokenConsumers
from routing.caller import Caller
from routing.caller import TokenIdentity as Person
from routing.consumers.policy import CERTIFICATE, Plan, UserBinding
from routing.consumers.table import ConsumerData, ConsumerRecord, ConsumerTable
from routing.router.live import LiveConfiguration
from routing.router.table import RouteTable
from routing.steps.rechecks import Rechecks
from tests import certificates
from tests.identity_provider import encoded

NOW = 1_700_000_000.0
ISSUER = Issuer(issuer="https://login.example.com", audience=("api",))
SIGNING = SigningKey(keyid="k", algorithm=SignatureAlgorithm.HMAC_SHA256, material="s" * 32, consumer=1)
LEAF = ClientCertificate(fingerprint="0" * 64, uris=("spiffe://acme/web",), ends=NOW + 1_000)
TOKEN = Caller(
    "jwt+login.example.com:ada",
    scopes=frozenset(),
    expires=NOW + 1_000,
    services=frozenset({"*"}),
    identity=Person(ISSUER.issuer, "ada", token_id="t1"),
)
OWNED = {
    UserBinding(issuer=CERTIFICATE, subject="uri:spiffe://acme/web"): 1,
    UserBinding(issuer=ISSUER.issuer, subject="ada"): 1,
}
ACME, OTHER = ConsumerRecord(1, "acme", True, 0.0), ConsumerRecord(2, "other", True, 0.0)
KEY = generate_api_key()
RECORD = KeyRecord(prefix=KEY.prefix, digest=KEY.digest, name="ours", scopes=frozenset({"*"}))
API_KEY = Credential(KEY.key, is_key=True)
CLAIMS = {"iss": ISSUER.issuer, "aud": "api", "sub": "ada", "jti": "t1", "exp": NOW + 940, "name": "Ada", "org": "acme"}
BEARER = Credential(f"{encoded({'alg': 'RS256', 'kid': 'k'})}.{encoded(CLAIMS)}.c2lnbmVk", is_key=False)
OPAQUE = Credential("opaque", is_key=False)


class World:
    """A configuration that accepts a key, a signing key, a certificate and a user's tokens, all of one consumer's."""

    def __init__(self) -> None:
        self.live = LiveConfiguration()
        self.authenticator = Authenticator(lambda: self.live.keys)
        self.rechecks = Rechecks(self.live, self.authenticator)
        self.configure()

    def configure(
        self,
        *,
        consumers: Sequence[ConsumerRecord] = (ACME, OTHER),
        owned: dict[UserBinding, int] = OWNED,
        signing: Sequence[SigningKey] = (SIGNING,),
        issuers: Sequence[Issuer] = (ISSUER,),
        revocations: Sequence[Revocation] = (),
        keys: Sequence[KeyRecord] = (RECORD,),
        plans: dict[str, Plan] | None = None,
    ) -> None:
        data = ConsumerData(plans or {}, {}, {record.id: record for record in consumers}, owned)
        self.live.table = RouteTable(signing_keys=signing, issuers=issuers)
        self.live.keys = ApiKeys(list(keys), ConsumerTable(data))
        self.authenticator.verify_with(None, Revocations(revocations) if revocations else NONE)

    def caller(self, proof: Proof) -> Caller:
        """The caller of a request with this proof."""
        consumers = self.live.keys.consumers
        match proof:
            case SigningKey():
                return proof.caller(ACME, consumers)
            case ClientCertificate():
                return CertificateCallers().caller(proof, consumers)
        key = self.authenticator.try_identify(proof, NOW)
        return key or TokenConsumers().subscribed(TOKEN, consumers)


PROOFS: list[Proof] = [API_KEY, BEARER, SIGNING, LEAF]
DISABLED = (msgspec.structs.replace(ACME, enabled=False), OTHER)
UNTIL = NOW + 60


@pytest.mark.parametrize("proof", PROOFS)
def test_a_caller_stays_valid_while_nothing_changes(proof: Proof) -> None:
    world = World()
    caller = world.caller(proof)
    found = world.rechecks.current(caller, proof, NOW)
    assert found is not None
    assert (found.id, found.scopes) == (caller.id, caller.scopes)
    world.configure()
    assert world.rechecks.current(caller, proof, NOW) is not None


@pytest.mark.parametrize(
    ("proof", "change"),
    [
        (API_KEY, {"keys": ()}),
        (SIGNING, {"signing": ()}),
        (SIGNING, {"signing": (msgspec.structs.replace(SIGNING, material="t" * 32),)}),
        (SIGNING, {"signing": (msgspec.structs.replace(SIGNING, consumer=2),)}),
        (SIGNING, {"consumers": DISABLED}),
        (SIGNING, {"consumers": (OTHER,)}),
        (LEAF, {"owned": {}}),
        (LEAF, {"owned": dict.fromkeys(OWNED, 2)}),
        (LEAF, {"consumers": DISABLED}),
        (BEARER, {"owned": {}}),
        (BEARER, {"owned": dict.fromkeys(OWNED, 2)}),
        (BEARER, {"consumers": DISABLED}),
        (BEARER, {"issuers": ()}),
        (BEARER, {"issuers": (msgspec.structs.replace(ISSUER, enabled=False),)}),
        (BEARER, {"issuers": (msgspec.structs.replace(ISSUER, audience=("other",)),)}),
        (BEARER, {"issuers": (msgspec.structs.replace(ISSUER, algorithms=(Algorithm.ES256,)),)}),
        (BEARER, {"issuers": (msgspec.structs.replace(ISSUER, types=("at+jwt",)),)}),
        (BEARER, {"issuers": (msgspec.structs.replace(ISSUER, require=(("groups", ("staff",)),)),)}),
        (BEARER, {"issuers": (msgspec.structs.replace(ISSUER, claims=ClaimNames(id="name")),)}),
        (BEARER, {"issuers": (msgspec.structs.replace(ISSUER, claims=ClaimNames(tenant="org")),)}),
        (BEARER, {"revocations": (Revocation("", "ada", "", UNTIL),)}),
        (BEARER, {"revocations": (Revocation(ISSUER.issuer, "", "t1", UNTIL),)}),
    ],
)
def test_what_is_revoked_is_refused(proof: Proof, change: dict[str, Any]) -> None:
    world = World()
    caller = world.caller(proof)
    world.configure(**change)
    assert world.rechecks.current(caller, proof, NOW) is None


def test_a_shorter_leeway_ends_a_token_earlier() -> None:
    world = World()
    caller = world.caller(BEARER)
    assert world.rechecks.current(caller, BEARER, NOW + 999) is not None
    world.configure(issuers=(msgspec.structs.replace(ISSUER, leeway=0.0),))
    assert world.rechecks.current(caller, BEARER, NOW + 939) is not None
    assert world.rechecks.current(caller, BEARER, NOW + 941) is None


@pytest.mark.parametrize("proof", [BEARER, OPAQUE])
def test_an_issuer_may_come_to_permit_other_services(proof: Credential) -> None:
    world = World()
    caller = world.caller(proof)
    assert caller.may_use("crm", ())
    world.configure(issuers=(msgspec.structs.replace(ISSUER, services=("mail",)),))
    for _ in range(3):
        found = world.rechecks.current(caller, proof, NOW)
        assert found is not None
        assert (found.may_use("crm", ()), found.may_use("mail", ())) == (False, True)
    world.configure()
    found = world.rechecks.current(caller, proof, NOW)
    assert found is not None
    assert found.may_use("crm", ())


def test_an_issuer_that_cannot_be_used_refuses_nobody() -> None:
    """New requests are answered with 503."""
    world = World()
    caller = world.caller(BEARER)
    world.configure(issuers=(msgspec.structs.replace(ISSUER, faults=("its secret is missing",)),))
    found = world.rechecks.current(caller, BEARER, NOW)
    assert found is not None
    assert (found.id, found.services) == (caller.id, caller.services)


@pytest.mark.parametrize("revoked", [Revocation("", "bob", "", UNTIL), Revocation("", "ada", "", NOW - 1)])
def test_revocations_of_others_and_past_ones_end_nothing(revoked: Revocation) -> None:
    world = World()
    caller = world.caller(BEARER)
    world.configure(revocations=(revoked,))
    assert world.rechecks.current(caller, BEARER, NOW) is not None


def test_a_replaced_signing_key_is_accepted_until_its_grace_has_ended() -> None:
    world = World()
    caller = world.caller(SIGNING)
    replaced = msgspec.structs.replace(SIGNING, until=NOW + 60)
    world.configure(signing=(msgspec.structs.replace(SIGNING, material="t" * 32), replaced))
    found = world.rechecks.current(caller, SIGNING, NOW)
    assert found is not None
    assert found.expires == NOW + 60
    assert world.rechecks.current(caller, SIGNING, NOW + 61) is None


def test_a_certificate_in_a_list_of_revoked_ones_is_refused() -> None:
    """The lists are read again meanwhile."""
    authority = certificates.authority()
    leaf = certificates.client(authority, uris=["spiffe://acme/web"])
    world = World()
    proof = describe(leaf.certificate, leaf.der)
    caller = world.caller(proof)
    assert world.rechecks.current(caller, proof, NOW) is not None
    world.authenticator.revoked_certificates.use(certificates.revocations(authority))
    assert world.rechecks.current(caller, proof, NOW) is not None
    world.authenticator.revoked_certificates.use(certificates.revocations(authority, leaf))
    assert world.rechecks.current(caller, proof, NOW) is None


def test_an_expired_certificate_is_refused() -> None:
    world = World()
    caller = world.caller(LEAF)
    assert world.rechecks.current(caller, LEAF, NOW + 999) is not None
    assert world.rechecks.current(caller, LEAF, NOW + 1_001) is None


@pytest.mark.parametrize("proof", [BEARER, SIGNING, LEAF])
def test_another_plan_of_the_same_consumer_holds_from_then_on(proof: Proof) -> None:
    world = World()
    caller = world.caller(proof)
    assert caller.may_use("crm", ())
    world.configure(
        consumers=(msgspec.structs.replace(ACME, plan="small"), OTHER), plans={"small": Plan(name="small", services=())}
    )
    found = world.rechecks.current(caller, proof, NOW)
    assert found is not None
    assert not found.may_use("crm", ())


def test_a_token_without_a_consumer_becomes_one_of_a_consumer() -> None:
    world = World()
    world.configure(owned={})
    caller = world.caller(BEARER)
    assert world.rechecks.current(caller, BEARER, NOW) == caller
    world.configure()
    assert world.rechecks.current(caller, BEARER, NOW) is None
