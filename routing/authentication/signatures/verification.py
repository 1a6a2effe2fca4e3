"""Verifies the signature of a request, and names the key that has made it. Pure rules, without I/O."""

from collections.abc import Container, Iterator
from hashlib import blake2b
from typing import Final, NamedTuple

from routing.authentication.signatures.components import ComponentError, SignedRequest, signature_base
from routing.authentication.signatures.errors import InvalidSignature, UnknownSigner
from routing.authentication.signatures.keys import SigningKey, SigningKeys
from routing.authentication.signatures.policy import CONTENT_DIGEST, OF_CONTENT, NonceRule, SignaturePolicy
from routing.authentication.signatures.signature_fields import SignatureInput, read_signatures

_COVERED_BY: Final[dict[str, tuple[frozenset[str], ...]]] = {
    "@target-uri": (
        frozenset({"@scheme", "@authority", "@path", "@query"}),
        frozenset({"@scheme", "@authority", "@request-target"}),
        frozenset({"@authority", "@path", "@query"}),
        frozenset({"@authority", "@request-target"}),
    ),
    "@authority": (frozenset({"@target-uri"}),),
    "@scheme": (frozenset({"@target-uri"}),),
    "@path": (frozenset({"@target-uri"}), frozenset({"@request-target"})),
    "@query": (frozenset({"@target-uri"}), frozenset({"@request-target"})),
    "@request-target": (frozenset({"@target-uri"}), frozenset({"@path", "@query"})),
}
"""What says the same as a required component. The scheme is the one part of a URI that selects no resource here."""


class Proof(NamedTuple):
    """A verified signature. `replay_id` is that of its nonce, which must not be accepted again before `until`, in Unix
    time; empty without a nonce. `covers_content`: whether the content is what was signed if its digest is right.
    """

    key: SigningKey
    replay_id: str
    until: float
    covers_content: bool


def verify(
    request: SignedRequest, keys: SigningKeys, policy: SignaturePolicy, *, has_content: bool, now: float
) -> Proof:
    """Raises InvalidSignature. `now` is Unix time.

    Signatures of keys that are not known are ignored if another one is: proxies may add their own.
    """
    inputs = read_signatures(request.headers, policy, lambda keyid: bool(keys.find(keyid, now)))
    known = [(found, candidates) for found in inputs if (candidates := keys.find(found.keyid, now))]
    if not known:
        raise UnknownSigner
    if len(known) > 1:
        raise InvalidSignature("the request has several signatures of known keys: set a tag to tell which counts")
    found, candidates = known[0]
    _check_times(found, policy, now)
    _check_components(found, policy, request, has_content=has_content)
    key = _signer(request, found, candidates)
    if found.nonce is None and policy.nonce is NonceRule.REQUIRED:
        raise InvalidSignature("the signature needs a nonce")
    return Proof(key, _replay_id(found), _until(found, policy) + policy.leeway, CONTENT_DIGEST in found.names)


def _signer(request: SignedRequest, found: SignatureInput, candidates: tuple[SigningKey, ...]) -> SigningKey:
    """The algorithm is the key's own: one that the signature names is only compared with it."""
    usable = [key for key in candidates if found.alg is None or found.alg == key.algorithm]
    if not usable:
        raise InvalidSignature("the signature's algorithm is not that of its key")
    try:
        base = signature_base(request, found.covered)
        for key in usable:
            if key.verifies(found.signature, base):
                return key
    except ComponentError as error:
        raise InvalidSignature(str(error)) from None
    except ValueError:
        raise InvalidSignature("the signature's key cannot be used") from None
    received = f"{request.method} {request.scheme}://{request.authority}{request.path.decode('latin-1')}"
    raise InvalidSignature(f"the signature does not match the request as received, {received[:300]}")


def _check_times(found: SignatureInput, policy: SignaturePolicy, now: float) -> None:
    if found.created > now + policy.leeway:
        raise InvalidSignature("the signature was created in the future")
    if found.expires is not None and found.expires < found.created:
        raise InvalidSignature("the signature expires before it was created")
    if _until(found, policy) + policy.leeway <= now:
        raise InvalidSignature("the signature has expired")


def _until(found: SignatureInput, policy: SignaturePolicy) -> float:
    oldest = found.created + policy.max_age
    return oldest if found.expires is None else min(oldest, found.expires)


def _check_components(
    found: SignatureInput, policy: SignaturePolicy, request: SignedRequest, *, has_content: bool
) -> None:
    names = found.names
    if not request.query:
        names |= {"@query"}  # there is none that could be left out
    present = None if has_content else {key.decode("latin-1") for key, _ in request.headers}
    missing = list(_missing(names, policy, present))
    if missing:
        raise InvalidSignature(f"the signature must cover {', '.join(missing)}")


def _missing(names: frozenset[str], policy: SignaturePolicy, present: Container[str] | None) -> Iterator[str]:
    """`present` are the fields of a request without content, None for one with content."""
    for required in policy.components:
        if required in names or (present is not None and _is_without(required, present)):
            continue
        if not any(others <= names for others in _COVERED_BY.get(required, ())):
            yield required


def _is_without(required: str, present: Container[str]) -> bool:
    """Whether this component of a request without content can be left out: nobody signs a field that is not sent."""
    return required == CONTENT_DIGEST or (required.startswith(OF_CONTENT) and required not in present)


def _replay_id(found: SignatureInput) -> str:
    """Opaque, and of one length: nonces are the clients' own text. Each key has its own nonces."""
    if found.nonce is None:
        return ""
    digest = blake2b(found.nonce.encode(), key=blake2b(found.keyid.encode()).digest(), digest_size=16)
    return digest.hexdigest()
