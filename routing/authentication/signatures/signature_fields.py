"""The fields `Signature-Input` and `Signature` of a request, read strictly (RFC 9421 section 4)."""

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from routing.authentication.signatures.errors import InvalidSignature
from routing.authentication.signatures.policy import SignaturePolicy
from routing.http import Headers, joined
from routing.structured_fields import InnerList, Item, Parameters, parse_dictionary

INPUT: Final = b"signature-input"
SIGNATURE: Final = b"signature"
MAX_FIELD_BYTES: Final = 8_192
MAX_SIGNATURES: Final = 8
MAX_COMPONENTS: Final = 64
MAX_NONCE_LENGTH: Final = 256
MAX_KEYID_LENGTH: Final = 200
_KNOWN: Final = frozenset({"created", "expires", "nonce", "alg", "keyid", "tag"})
_NONCE: Final = re.compile(r"[\x20-\x7e]{1,256}")


class SignatureInput(NamedTuple):
    """One signature, and what it says of itself. Times are Unix time in seconds."""

    covered: InnerList
    signature: bytes
    keyid: str
    created: int
    expires: int | None
    nonce: str | None
    alg: str | None
    tag: str | None

    @property
    def names(self) -> frozenset[str]:
        """The components that are covered as a whole: without parameters that select a part of them."""
        return frozenset(
            str(item.value) for item in self.covered.items if item.parameters.keys().isdisjoint({"key", "name"})
        )


def read_signatures(
    headers: Headers, policy: SignaturePolicy, is_known: Callable[[object], bool]
) -> list[SignatureInput]:
    """The signatures of a request that the policy considers, each with its parameters checked for their types.

    Those whose keyid is known, if there are any: proxies add signatures of their own, which need neither a keyid nor a
    time (RFC 9421 section 2.3), and are not ours to judge. Raises InvalidSignature if the fields are malformed or do
    not belong together.
    """
    inputs, signatures = _dictionary(headers, INPUT), _dictionary(headers, SIGNATURE)
    if inputs.keys() != signatures.keys():
        raise InvalidSignature("Signature-Input and Signature have different labels")
    tagged = [label for label, each in inputs.items() if policy.tag is None or each.parameters.get("tag") == policy.tag]
    if not tagged:
        raise InvalidSignature(f'no signature has the tag "{policy.tag}"')
    known = [label for label in tagged if is_known(inputs[label].parameters.get("keyid"))]
    return [_read(label, inputs[label], signatures[label]) for label in known or tagged]


def _dictionary(headers: Headers, name: bytes) -> dict[str, Item | InnerList]:
    title = "Signature-Input" if name == INPUT else "Signature"
    value = joined(headers, name)
    if value is None:
        raise InvalidSignature(f"the request has no field {title}")
    if len(value) > MAX_FIELD_BYTES:
        raise InvalidSignature(f"{title} is too long")
    try:
        members = parse_dictionary(value.decode("ascii"), unique=True)
    except ValueError as error:
        raise InvalidSignature(f"{title} is malformed: {_plain(error)}") from None
    if not 1 <= len(members) <= MAX_SIGNATURES:
        raise InvalidSignature(f"{title} must have 1 to {MAX_SIGNATURES} members")
    return members


def _plain(error: ValueError) -> str:
    return "not ASCII" if isinstance(error, UnicodeDecodeError) else str(error)[:80]


def _read(label: str, member: Item | InnerList, signature: Item | InnerList) -> SignatureInput:
    if not isinstance(member, InnerList):
        raise InvalidSignature(f"Signature-Input: {label} is not a list of components")
    if not isinstance(signature, Item) or not isinstance(signature.value, bytes):
        raise InvalidSignature(f"Signature: {label} is not a byte sequence")
    parameters = member.parameters
    if len(member.items) > MAX_COMPONENTS:
        raise InvalidSignature(f"{label}: a signature may cover at most {MAX_COMPONENTS} components")
    unknown = parameters.keys() - _KNOWN
    if unknown:
        raise InvalidSignature(f"{label}: unknown parameter {min(unknown)[:40]}")
    keyid, nonce = _text(label, parameters, "keyid"), _text(label, parameters, "nonce")
    if not keyid or len(keyid) > MAX_KEYID_LENGTH:
        raise InvalidSignature(f"{label}: the signature needs a keyid")
    if nonce is not None and _NONCE.fullmatch(nonce) is None:
        raise InvalidSignature(f"{label}: a nonce has 1 to {MAX_NONCE_LENGTH} characters")
    created, expires = _time(label, parameters, "created"), _time(label, parameters, "expires")
    if created is None:
        raise InvalidSignature(f"{label}: the signature needs the time when it was created")
    alg, tag = _text(label, parameters, "alg"), _text(label, parameters, "tag")
    return SignatureInput(member, signature.value, keyid, created, expires, nonce, alg, tag)


def _text(label: str, parameters: Parameters, name: str) -> str | None:
    value = parameters.get(name)
    if value is not None and type(value) is not str:
        raise InvalidSignature(f"{label}: {name} is not a string")
    return value


def _time(label: str, parameters: Parameters, name: str) -> int | None:
    value = parameters.get(name)
    if value is not None and type(value) is not int:
        raise InvalidSignature(f"{label}: {name} is not an integer")
    return value
