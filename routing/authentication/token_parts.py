"""The parts of a JSON Web Token (RFC 7519) in compact form, read strictly. Nothing here verifies a signature."""

import binascii
import json
import re
from base64 import urlsafe_b64decode
from typing import Any, Final, NamedTuple, NoReturn

MAX_TOKEN_LENGTH: Final = 16_384
"""Characters. A longer token is rejected without parsing."""
_JWT: Final = re.compile(r"([A-Za-z0-9_-]++)\.([A-Za-z0-9_-]++)\.([A-Za-z0-9_-]*+)")


class Parts(NamedTuple):
    """A token's decoded parts. `signed` is what the signature covers (RFC 7515 section 5.2)."""

    header: bytes
    claims: bytes
    signature: bytes
    signed: bytes


class ParsedToken(NamedTuple):
    """A token as its JSON objects."""

    header: dict[str, Any]
    claims: dict[str, Any]
    signature: bytes
    signed: bytes


def split(token: str) -> Parts:
    """Raises ValueError if the token has not the form of a signed JWT. One that is encrypted has five parts."""
    match = _JWT.fullmatch(token) if len(token) <= MAX_TOKEN_LENGTH else None
    if match is None:
        raise ValueError("not a JWT")
    header, claims, signature = match.groups()
    signed = token[: match.end(2)].encode()
    return Parts(_decode_part(header), _decode_part(claims), _decode_part(signature), signed)


def looks_like_jwt(token: str) -> bool:
    """Whether the text has the form of a signed JWT."""
    return len(token) <= MAX_TOKEN_LENGTH and _JWT.fullmatch(token) is not None


def parse(token: str) -> ParsedToken:
    """Raises ValueError if the token is not a JWT of two JSON objects, or if one has a member twice."""
    parts = split(token)
    return ParsedToken(parse_object(parts.header), parse_object(parts.claims), parts.signature, parts.signed)


def parse_object(content: bytes) -> dict[str, Any]:
    """A JSON object. Raises ValueError, also for duplicate members, NaN and infinity.

    Parsers differ in which of two members they take (RFC 8259 section 4), so that a token with duplicates could mean
    one thing to its issuer and another here.
    """
    try:
        value = json.loads(content.decode(), object_pairs_hook=_unique, parse_constant=_reject_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def _decode_part(part: str) -> bytes:
    try:
        return urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except binascii.Error:
        raise ValueError("not base64url") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a duplicate member")
    return members


def _reject_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")
