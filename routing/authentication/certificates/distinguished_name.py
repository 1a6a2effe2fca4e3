"""The ways in which programs write a certificate's subject (RFC 4514). Pure.

All of them are of one grammar, so that no two subjects share a spelling. They differ in the names of attributes, in
which characters are escaped, and in the order of the attributes of one component.
"""

from collections.abc import Iterator
from typing import Any, Final

from cryptography.x509 import Name, NameAttribute, ObjectIdentifier
from cryptography.x509.oid import NameOID

_OPENSSL: Final[dict[ObjectIdentifier, str]] = {
    NameOID.EMAIL_ADDRESS: "emailAddress",
    NameOID.SERIAL_NUMBER: "serialNumber",
    NameOID.GIVEN_NAME: "GN",
    NameOID.SURNAME: "SN",
    NameOID.TITLE: "title",
    NameOID.INITIALS: "initials",
    NameOID.PSEUDONYM: "pseudonym",
    NameOID.GENERATION_QUALIFIER: "generationQualifier",
    NameOID.DN_QUALIFIER: "dnQualifier",
    NameOID.STREET_ADDRESS: "street",
    NameOID.POSTAL_CODE: "postalCode",
    NameOID.POSTAL_ADDRESS: "postalAddress",
    NameOID.BUSINESS_CATEGORY: "businessCategory",
    NameOID.ORGANIZATION_IDENTIFIER: "organizationIdentifier",
    NameOID.UNSTRUCTURED_NAME: "unstructuredName",
    NameOID.JURISDICTION_COUNTRY_NAME: "jurisdictionC",
    NameOID.JURISDICTION_LOCALITY_NAME: "jurisdictionL",
    NameOID.JURISDICTION_STATE_OR_PROVINCE_NAME: "jurisdictionST",
}
"""Attributes that OpenSSL, nginx, HAProxy and Envoy name, where RFC 4514 has a number."""
_SPECIAL: Final = frozenset(',+"\\<>;')
_FIRST_NON_ASCII: Final = 0x80
_FIRST_PRINTABLE: Final = 0x20
_DELETE: Final = 0x7F


def spellings(name: Name) -> tuple[str, ...]:
    """Each once: RFC 4514's, OpenSSL's (`-nameopt RFC2253`), and the latter with non-ASCII characters as they are."""
    found = (name.rfc4514_string(), _written(name, escapes=True), _written(name, escapes=False))
    return tuple(dict.fromkeys(found))


def _written(name: Name, *, escapes: bool) -> str:
    return ",".join(
        "+".join(_attribute(each, escapes=escapes) for each in reversed(list(component)))
        for component in reversed(name.rdns)
    )


def _attribute(attribute: NameAttribute[Any], *, escapes: bool) -> str:
    value = attribute.value
    if not isinstance(value, str):
        return attribute.rfc4514_string()
    kind = _OPENSSL.get(attribute.oid) or attribute.rfc4514_attribute_name
    return f"{kind}={''.join(_escaped(value, escapes=escapes))}"


def _escaped(value: str, *, escapes: bool) -> Iterator[str]:
    last = len(value) - 1
    for position, character in enumerate(value):
        code = ord(character)
        is_edge = (character == " " and position in (0, last)) or (character == "#" and position == 0)
        if character in _SPECIAL or is_edge:
            yield f"\\{character}"
        elif code < _FIRST_PRINTABLE or code == _DELETE or (escapes and code >= _FIRST_NON_ASCII):
            yield from (f"\\{byte:02X}" for byte in character.encode())
        else:
            yield character
