"""A program that signs its requests (RFC 9421): independent of the gateway's own code."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SECRET: Final = "a secret of more than thirty-two bytes"
Field = tuple[str, str]


class Signer:
    """Signs with Ed25519, or with HMAC if it has a secret."""

    def __init__(self, keyid: str = "acme-1", secret: str = "") -> None:
        self.keyid = keyid
        self._secret = secret
        self._private = Ed25519PrivateKey.generate()

    @property
    def public_key(self) -> str:
        return self._private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def sign_base(self, base: bytes) -> bytes:
        return hmac.digest(self._secret.encode(), base, "sha256") if self._secret else self._private.sign(base)

    def fields(
        self,
        method: str,
        uri: str,
        *,
        created: float,
        nonce: str | None = None,
        more: str = "",
        body: bytes | None = None,
        components: Sequence[tuple[str, str]] | None = None,
        label: str = "sig",
    ) -> list[Field]:
        """The header fields of a signed request. `components` are identifiers and values; `more` further parameters;
        `nonce` empty for none, None for a random one.
        """
        fields: list[Field] = []
        covered = list(components) if components is not None else [('"@method"', method), ('"@target-uri"', uri)]
        if body is not None:
            value = f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"
            fields.append(("Content-Digest", value))
            covered.append(('"content-digest"', value))
        nonce = secrets.token_urlsafe(12) if nonce is None else nonce
        parameters = f"({' '.join(name for name, _ in covered)});created={int(created)}"
        parameters += f';nonce="{nonce}"' if nonce else ""
        parameters += f';keyid="{self.keyid}"{more}'
        base = "\n".join([*(f"{name}: {value}" for name, value in covered), f'"@signature-params": {parameters}'])
        signature = base64.b64encode(self.sign_base(base.encode())).decode()
        return [*fields, ("Signature-Input", f"{label}={parameters}"), ("Signature", f"{label}=:{signature}:")]
