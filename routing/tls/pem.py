"""Certificates and private keys in PEM: what makes them unusable. Messages contain nothing of their content."""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509 import Certificate, load_pem_x509_certificate
from cryptography.x509.oid import ExtensionOID

_BLOCK: Final = re.compile(r"-----BEGIN ([A-Z0-9 ]{1,40})-----([^-]*)-----END \1-----")
_KEY: Final = re.compile(r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY-----")
_ENCRYPTED: Final = re.compile(r"-----BEGIN ENCRYPTED PRIVATE KEY-----|Proc-Type: *4,ENCRYPTED")
_CERTIFICATE: Final = "CERTIFICATE"
_ALTERNATIVE_NAMES: Final = ExtensionOID.SUBJECT_ALTERNATIVE_NAME
_LINE: Final = 64
"""Characters of base64 (RFC 7468 section 2)."""
_BEGIN: Final = "-----BEGIN CERTIFICATE-----"
_NO_CERTIFICATE: Final = "has no certificate in PEM (-----BEGIN CERTIFICATE-----)"
_NO_KEY: Final = "has no private key in PEM (-----BEGIN PRIVATE KEY-----)"
_MEMORY: Final = 512
"""Distinct texts whose faults are remembered: the configuration is loaded again and again."""


def has_key(text: str) -> bool:
    return _KEY.search(text) is not None


def certificate_blocks(text: str) -> str:
    """The certificates alone, without comments, keys and what `openssl x509 -text` and PKCS #12 put around them."""
    return "".join(_blocks(text, _CERTIFICATE))


def key_block(text: str) -> str:
    """The first private key alone: one on a curve may follow its parameters. Raises ValueError."""
    found = next(_blocks(text, "PRIVATE KEY"), None)
    if found is None:
        raise ValueError(_NO_KEY)
    return found


def _blocks(text: str, label: str) -> Iterator[str]:
    """With the line breaks that OpenSSL needs: forms of web pages do not keep them, and variables often have `\\n` in
    their place. `label` is how the label ends.
    """
    for match in _BLOCK.finditer(text):
        kind, content = match.group(1), "".join(match.group(2).replace("\\n", "").replace("\\r", "").split())
        if kind.endswith(label):
            lines = (content[at : at + _LINE] for at in range(0, len(content), _LINE))
            yield "\n".join((f"-----BEGIN {kind}-----", *lines, f"-----END {kind}-----\n"))


def load_certificates(text: str) -> list[Certificate]:
    """In their order. Raises ValueError for a text without any, or with a malformed one."""
    found = list(_blocks(text, _CERTIFICATE))
    if not found:
        raise ValueError(_NO_CERTIFICATE)
    if text.count(_BEGIN) != len(found):
        raise ValueError("has a certificate without an end (-----END CERTIFICATE-----)")
    loaded = []
    for number, block in enumerate(found, 1):
        try:
            certificate = load_pem_x509_certificate(block.encode())
            certificate.public_key()
        except (ValueError, UnsupportedAlgorithm):
            raise ValueError(f"certificate {number} of {len(found)} is malformed") from None
        loaded.append(certificate)
    return loaded


@lru_cache(maxsize=_MEMORY)
def certificates_fault(text: str) -> str:
    """Why these are no certificates; empty if they are."""
    try:
        load_certificates(text)
    except ValueError as error:
        return str(error)
    return ""


@lru_cache(maxsize=_MEMORY)
def certificate_names(text: str) -> bytes:
    """Whom the first certificate names, and who has issued it: the same after a renewal, which changes key and dates.

    In DER, each part after its length. Raises ValueError.
    """
    first = load_certificates(text)[0]
    found = [first.issuer.public_bytes(), first.subject.public_bytes()]
    found += [each.value.public_bytes() for each in first.extensions if each.oid == _ALTERNATIVE_NAMES]
    return b"".join([b"%d:%b" % (len(part), part) for part in found])


@lru_cache(maxsize=_MEMORY)
def key_fault(text: str) -> str:
    """Why this is no private key that can be used; empty if it is one."""
    if _ENCRYPTED.search(text):
        return "is an encrypted private key: write it without its passphrase (openssl pkey)"
    if not has_key(text):
        return _NO_KEY
    try:
        _public_key(text)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return "has a malformed private key, or one of a kind that is not supported"
    return ""


@lru_cache(maxsize=_MEMORY)
def pair_fault(certificate: str, key: str) -> str:
    """Why this key is not that of the first certificate; empty if it is. Both are without faults of their own."""
    public = _public_key(key)
    found = [_encoded(each) for each in load_certificates(certificate)]
    if found[0] == public:
        return ""
    if public in found:
        return "the certificate of the key must be the first one of 'certificate', before those that issued it"
    return "the key belongs to another certificate"


def _public_key(text: str) -> bytes:
    key = load_pem_private_key(key_block(text).encode(), password=None)
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _encoded(certificate: Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
