"""The section `tls` of a service or a target. No Django."""

import ipaddress
from typing import Any, Final

from routing.configuration.faults import ConfigurationError, Faults
from routing.configuration.headers import reference, resolve
from routing.configuration.values import (
    SecretLookup,
    ValueParser,
    display,
    host_name,
    mapping,
    parse_mapping,
    string,
)
from routing.tls.context import refusal
from routing.tls.pem import certificates_fault, has_key, key_fault, pair_fault
from routing.tls.policy import TlsPolicy, TlsVersion

TLS: Final = ("ca", "certificate", "key", "server_name", "minimum")
"""The section's keys in canonical order."""
FILES: Final = ("ca", "certificate", "key")
"""Keys whose values may be references."""


def tls(secret: SecretLookup) -> ValueParser:
    """The policy for a section, None for an empty one. References are looked up in `secret`; what it returns empty is
    not checked, nor a certificate whose key is that.

    Error messages never contain anything of a file, or of a value that may be a key.
    """
    parsers: dict[str, ValueParser] = {
        "ca": _certificates(secret),
        "certificate": _certificates(secret, may_have_key=True),
        "key": _key(secret),
        "server_name": server_name,
        "minimum": _minimum,
    }

    def parse(value: object) -> TlsPolicy | None:
        if not isinstance(value, dict):
            raise ValueError("must be a mapping of names to values")
        if not value:
            return None
        faults = Faults()
        settings = parse_mapping(mapping(value), parsers, faults)
        if not faults.found:
            settings = _with_pair(settings, faults)
        faults.raise_if_any()
        if not settings.get("key"):
            settings.pop("certificate", None)
        policy = TlsPolicy(**settings)
        fault = refusal(policy)
        if fault:
            faults.add(("certificate",) if policy.certificate else ("ca",), fault)
            raise ConfigurationError(faults.found)
        return policy

    return parse


def _with_pair(settings: dict[str, Any], faults: Faults) -> dict[str, Any]:
    """With the key of a certificate's own file, if it has none beside it. Adds faults of the two together."""
    certificate, key = settings.get("certificate"), settings.get("key")
    if certificate is None:
        if key is not None:
            faults.add(("key",), "a key needs the certificate that it belongs to")
    elif key is None and certificate:
        fault = key_fault(certificate)
        if not has_key(certificate):
            faults.add(("certificate",), "a certificate needs its key: in 'key', or in the certificate's file")
        elif fault:
            faults.add(("certificate",), fault)
        else:
            settings = settings | {"key": certificate}
            faults.found += _pair_faults("certificate", certificate, certificate)
    elif key and certificate:
        faults.found += _pair_faults("key", certificate, key)
    return settings


def _pair_faults(name: str, certificate: str, key: str) -> list[Any]:
    faults, fault = Faults(), pair_fault(certificate, key)
    if fault:
        faults.add((name,), fault)
    return faults.found


def _certificates(secret: SecretLookup, *, may_have_key: bool = False) -> ValueParser:
    """Certificates in PEM, or a reference to them. A file may have their key too; the configuration may not."""

    def parse(value: object) -> str:
        content, subject = _content(value, secret, is_public=True)
        if content:
            fault = certificates_fault(content)
            if not fault and not may_have_key and has_key(content):
                fault = "has a private key, which authorities do not need here: give their certificates alone"
            if fault:
                raise ValueError(f"{subject} {fault}")
        return content

    return parse


def _key(secret: SecretLookup) -> ValueParser:
    """A reference to a private key in PEM."""

    def parse(value: object) -> str:
        content, subject = _content(value, secret, is_public=False)
        fault = key_fault(content) if content else ""
        if fault:
            raise ValueError(f"{subject} {fault}")
        return content

    return parse


def _content(value: object, secret: SecretLookup, *, is_public: bool) -> tuple[str, str]:
    """The content, empty for a reference that is not resolved, and what it is, for error messages."""
    found = reference(value)
    if found is not None and not found.scheme:
        return resolve(found, secret), found.source
    if not is_public:
        raise ValueError("a private key is kept outside of the configuration: file:/PATH or env:NAME")
    if not isinstance(value, str) or "-----BEGIN" not in value:
        raise ValueError("must be file:/PATH, env:NAME or certificates in PEM")
    if has_key(value):
        raise ValueError("has a private key, which is kept outside of the configuration: use file:/PATH or env:NAME")
    return value, "the value"


def server_name(value: object) -> str:
    """A host name or an IP address: what the certificate of a target is checked for."""
    text = string(value)
    try:
        return str(ipaddress.ip_address(text.removeprefix("[").removesuffix("]")))
    except ValueError:
        pass
    if not text.isascii():
        raise ValueError(f"{display(text)} is not ASCII: write the name as certificates have it (xn--...)")
    if text.startswith("*"):
        raise ValueError("must be one name that the certificate is valid for, not a pattern")
    return host_name(text)


def _minimum(value: object) -> TlsVersion:
    """A version: YAML reads it as a number where it has no quotes."""
    if not isinstance(value, str | float) or str(value) not in list(TlsVersion):
        raise ValueError(f"must be 1.2 or 1.3, not {display(value)}")
    return TlsVersion(str(value))
