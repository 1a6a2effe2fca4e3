"""The addresses of the identity provider, as its discovery document has them. No I/O."""

from collections.abc import Mapping
from typing import Any

import msgspec

from routing.authentication.discovery import read_metadata
from routing.authentication.issuer_policy import check_url
from routing.authentication.key_endpoint import KeyFetchFailed
from routing.authentication.token_parts import parse_object


class Metadata(msgspec.Struct, frozen=True):
    """The provider's metadata (OpenID Connect Discovery section 3). `names_itself`: its responses have `iss` (RFC
    9207).
    """

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    end_session_endpoint: str | None = None
    takes_secret_in_form: bool = False
    names_itself: bool = False


def read_provider_metadata(body: bytes, issuer: str) -> Metadata:
    """Raises KeyFetchFailed, also for another issuer's document and for addresses that are not https URLs."""
    key_set = read_metadata(body, issuer)
    document = parse_object(body)
    methods = document.get("token_endpoint_auth_methods_supported")
    return Metadata(
        authorization_endpoint=_address(document, "authorization_endpoint", issuer),
        token_endpoint=_address(document, "token_endpoint", issuer),
        jwks_uri=key_set,
        userinfo_endpoint=_optional_address(document, "userinfo_endpoint", issuer),
        end_session_endpoint=_optional_address(document, "end_session_endpoint", issuer),
        takes_secret_in_form=isinstance(methods, list) and "client_secret_post" in methods,
        names_itself=document.get("authorization_response_iss_parameter_supported") is True,
    )


def _address(document: Mapping[str, Any], name: str, issuer: str) -> str:
    address = document.get(name)
    try:
        check_url(address if isinstance(address, str) else "", name)
    except ValueError as error:
        raise KeyFetchFailed(f"discovery: {error}") from None
    if str(address).startswith("http://") and not issuer.startswith("http://"):
        raise KeyFetchFailed(f"discovery: {name} is not https")
    return str(address)


def _optional_address(document: Mapping[str, Any], name: str, issuer: str) -> str | None:
    return _address(document, name, issuer) if document.get(name) is not None else None
