"""Why a signature is not accepted, and what a client is asked for."""

from typing import Final

from routing.authentication.signatures.policy import OF_CONTENT, SignaturePolicy
from routing.errors import Unauthenticated
from routing.http import Headers

_CHALLENGE: Final = b'Signature realm="gateway"'


class InvalidSignature(Unauthenticated):
    """A signature that is not accepted. `detail` contains nothing of a key."""

    def headers(self) -> Headers:
        detail = self.detail.encode("ascii", "replace").translate(None, b'"\\')
        field = b'%b, error="invalid_signature", error_description="%b"' % (_CHALLENGE, detail)
        return [(b"www-authenticate", field), *super(Unauthenticated, self).headers()]


class UnknownSigner(InvalidSignature):
    """No signature of the request is of a key that is known here."""

    def __init__(self) -> None:
        super().__init__("the signature's keyid is not known")


class MissingSignature(Unauthenticated):
    """A request without a signature where one is required. `Accept-Signature` says what to sign (RFC 9421 section 5.1).

    `has_content`: whether the request has content, of which a digest is then required.
    """

    def __init__(self, policy: SignaturePolicy, *, has_content: bool) -> None:
        super().__init__("sign the request (RFC 9421)")
        self._policy = policy
        self._names = [name for name in policy.components if has_content or not name.startswith(OF_CONTENT)]

    def headers(self) -> Headers:
        names = " ".join(f'"{name}"' for name in self._names)
        tag = "" if self._policy.tag is None else f';tag="{self._policy.tag}"'
        accepted = f"sig=({names});created;nonce;keyid{tag}"
        return [
            (b"www-authenticate", _CHALLENGE),
            (b"accept-signature", accepted.encode()),
            *super(Unauthenticated, self).headers(),
        ]
