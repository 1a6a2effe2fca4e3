"""The section `tls` of services and targets: what it accepts, and what its messages say."""

import time
from collections.abc import Mapping
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from routing.configuration import literals
from routing.configuration.decode import decode_service
from routing.configuration.document import canonical, dump, parse
from routing.configuration.faults import ConfigurationError, UnresolvedSecret
from routing.configuration.isolate import decode_each
from routing.configuration.secret_files import WatchedSecrets
from routing.configuration.tls_expiry import expired
from routing.configuration.warnings import NO_HTTPS, warnings
from routing.router.table import Service
from routing.tls.policy import TlsPolicy, TlsVersion
from tests.certificates import authority
from tests.internal_ca import InternalCa, validity

CA, OTHER_CA = InternalCa(), InternalCa("Other CA")
OWN, STRANGER = CA.client(), OTHER_CA.client()
OLD_CA = authority("Old CA", **validity(-9, -1))
ISSUING = InternalCa("Issuing CA", CA.certificate)
DER_AS_TEXT = CA.certificate.der.decode("utf-8", "surrogateescape")
FILES = {
    "ca.pem": CA.pem,
    "own.pem": OWN.pem,
    "own.key": OWN.key_pem,
    "both.pem": OWN.key_pem + OWN.pem,
    "chain.pem": OWN.pem + ISSUING.pem,
    "reversed.pem": ISSUING.pem + OWN.pem,
    "stranger.key": STRANGER.key_pem,
    "encrypted.key": OWN.key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"passphrase")
    ).decode(),
    "old.key": OWN.key.private_bytes(
        Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"passphrase")
    ).decode(),
    "text": "GATEWAY PASSWORD 12345",
    "der": DER_AS_TEXT,
    "cut.pem": CA.pem + OTHER_CA.pem[:200],
    "broken.pem": CA.pem.replace("MII", "AAA"),
    "broken.key": OWN.key_pem.replace("MI", "AA"),
    "expired.pem": (expired_client := CA.client(**validity(-9, -1))).key_pem + expired_client.pem,
}


def secret(name: str) -> str | None:
    path = name.removeprefix("file:/run/secrets/")
    if path == name and name.startswith("file:"):
        raise ValueError(f"{name} is not allowed")
    if path not in FILES:
        raise UnresolvedSecret(f"the file {name.removeprefix('file:')} does not exist")
    return FILES[path]


def file(name: str) -> str:
    return f"file:/run/secrets/{name}"


def service(tls: Any = None, *targets: dict[str, Any], lookup: Any = secret) -> Service:
    own = {} if tls is None else {"tls": tls}
    return decode_service("crm", {"targets": list(targets) or [{"url": "https://a"}], **own}, lookup)


def faults(tls: Any, *targets: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigurationError) as error:
        service(tls, *targets)
    return list(map(str, error.value.faults))


def test_a_service_without_settings_has_none() -> None:
    assert service().targets[0].tls is None
    assert service().tls is None


def test_files_and_certificates_in_the_file_itself() -> None:
    [target] = service({"ca": file("ca.pem"), "certificate": file("own.pem"), "key": file("own.key")}).targets
    assert target.tls == TlsPolicy(ca=CA.pem, certificate=OWN.pem, key=OWN.key_pem)
    [target] = service({"ca": CA.pem, "server_name": "CRM.internal.example.", "minimum": 1.3}).targets
    assert target.tls == TlsPolicy(ca=CA.pem, server_name="crm.internal.example", minimum=TlsVersion.TLS_1_3)
    [target] = service({"certificate": file("both.pem"), "server_name": "[::1]", "minimum": "1.2"}).targets
    assert target.tls is not None
    assert (target.tls.key, target.tls.server_name) == (FILES["both.pem"], "::1")


def test_a_targets_settings_are_on_top_of_its_services() -> None:
    base = {"ca": file("ca.pem"), "certificate": file("own.pem"), "key": file("own.key"), "server_name": "a.example"}
    found = service(
        base,
        {"url": "https://a"},
        {"url": "https://b", "tls": {"server_name": "b.example"}},
        {"url": "https://c", "tls": {"certificate": file("both.pem"), "ca": OTHER_CA.pem}},
        {"url": "http://d"},
    )
    own = TlsPolicy(ca=CA.pem, certificate=OWN.pem, key=OWN.key_pem, server_name="a.example")
    both = FILES["both.pem"]
    assert [target.tls for target in found.targets] == [
        own,
        TlsPolicy(ca=CA.pem, certificate=OWN.pem, key=OWN.key_pem, server_name="b.example"),
        TlsPolicy(ca=OTHER_CA.pem, certificate=both, key=both, server_name="a.example"),
        None,
    ]


@pytest.mark.parametrize(
    ("tls", "message"),
    [
        ({"ca": file("missing.pem")}, "tls.ca: the file /run/secrets/missing.pem does not exist"),
        ({"ca": "file:/etc/shadow"}, "tls.ca: file:/etc/shadow is not allowed"),
        ({"ca": file("text")}, "tls.ca: the file /run/secrets/text has no certificate in PEM"),
        ({"ca": file("der")}, "tls.ca: the file /run/secrets/der has no certificate in PEM"),
        ({"ca": file("own.key")}, "has no certificate in PEM"),
        ({"ca": file("cut.pem")}, "has a certificate without an end"),
        ({"ca": file("broken.pem")}, "certificate 1 of 1 is malformed"),
        ({"ca": file("both.pem")}, "has a private key, which authorities do not need"),
        ({"ca": "/run/secrets/ca.pem"}, "must be file:/PATH, env:NAME or certificates in PEM"),
        ({"ca": OWN.key_pem + CA.pem}, "has a private key, which is kept outside of the configuration"),
        ({"certificate": FILES["both.pem"]}, "has a private key, which is kept outside of the configuration"),
        ({"certificate": file("own.pem")}, "tls.certificate: a certificate needs its key"),
        ({"key": file("own.key")}, "tls.key: a key needs the certificate"),
        ({"certificate": file("own.pem"), "key": OWN.key_pem}, "a private key is kept outside of the configuration"),
        ({"certificate": file("own.pem"), "key": "hunter2"}, "a private key is kept outside of the configuration"),
        ({"certificate": file("own.pem"), "key": 5}, "a private key is kept outside of the configuration"),
        ({"certificate": file("own.pem"), "key": file("stranger.key")}, "tls.key: the key belongs to another"),
        ({"certificate": file("own.pem"), "key": file("ca.pem")}, "has no private key in PEM"),
        ({"certificate": file("own.pem"), "key": file("encrypted.key")}, "is an encrypted private key"),
        ({"certificate": file("own.pem"), "key": file("old.key")}, "is an encrypted private key"),
        ({"certificate": file("own.pem"), "key": file("broken.key")}, "has a malformed private key"),
        ({"certificate": file("reversed.pem"), "key": file("own.key")}, "the certificate of the key must be the first"),
        ({"server_name": "*.example"}, "must be one name that the certificate is valid for"),
        ({"server_name": "a.example:443"}, "is not a host name"),
        ({"server_name": "https://a"}, "is not a host name"),
        ({"server_name": "bücher.example"}, "is not ASCII"),
        ({"server_name": ""}, "is not a host name"),
        ({"minimum": 1.1}, "must be 1.2 or 1.3, not 1.1"),
        ({"minimum": True}, "must be 1.2 or 1.3, not true"),
        ({"minimum": "TLSv1.3"}, "must be 1.2 or 1.3"),
        ({"verify": False}, "unknown key 'verify'"),
        (OWN.key_pem, "tls: must be a mapping of names to values"),
        (True, "tls: must be a mapping of names to values"),
    ],
)
def test_faults_name_the_setting_and_show_nothing_of_a_file(tls: Any, message: str) -> None:
    found = faults(tls)
    assert message in "\n".join(found)
    for content in ("PASSWORD", "hunter2", OWN.key_pem.splitlines()[1]):
        assert content not in "\n".join(found)


def test_faults_of_a_target_are_named_there() -> None:
    targets: list[dict[str, Any]] = [{"url": "https://a"}, {"url": "https://b", "tls": {"key": file("own.key")}}]
    assert faults(None, *targets) == ["targets[1].tls.key: a key needs the certificate that it belongs to"]
    assert faults(None, {"url": "http://a", "tls": {"ca": file("ca.pem")}}) == ["targets[0]: tls is for https targets"]


def test_weak_keys_are_refused_before_they_are_used() -> None:
    weak = rsa.generate_private_key(65537, 1024)  # noqa: S505 - what is tested
    issued = CA.client(key=weak)
    pem = weak.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    lookup = {"file:/c": issued.pem, "file:/k": pem}.get
    with pytest.raises(ConfigurationError, match="OpenSSL refuses it: ee key too small"):
        service({"certificate": "file:/c", "key": "file:/k"}, lookup=lookup)


def test_keys_of_every_supported_kind_belong_to_their_certificates() -> None:
    for key in (ed25519.Ed25519PrivateKey.generate(), rsa.generate_private_key(65537, 2048)):
        issued = CA.client(key=key)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        lookup = {"file:/c": issued.pem, "file:/k": pem}.get
        assert service({"certificate": "file:/c", "key": "file:/k"}, lookup=lookup).targets[0].tls is not None


def test_references_that_are_not_resolved_are_valid() -> None:
    tls = {"ca": file("x"), "certificate": file("y"), "key": "env:GATEWAY_SECRET_KEY"}
    assert service(tls, lookup=lambda _: "").targets[0].tls == TlsPolicy()


def test_settings_without_an_https_target_are_warned_of() -> None:
    found = service({"ca": file("ca.pem")}, {"url": "http://a"})
    assert [fault.message for fault in warnings([found])] == [NO_HTTPS]
    assert not list(warnings([service({"ca": file("ca.pem")}), service({}, {"url": "http://a"})]))


def test_what_has_expired_is_found_apart_from_what_is_loaded() -> None:
    """A running gateway goes on with it: the target decides."""
    own = {"certificate": file("expired.pem")}
    found = service(own, {"url": "https://a"}, {"url": "https://b", "tls": {"ca": OLD_CA.pem}}, {"url": "https://c"})
    assert [str(fault).split(" on ")[0] for fault in expired([found], time.time())] == [
        "services.crm.tls.certificate: expired",
        "services.crm.targets[1].tls.ca: expired",
    ]
    mixed = service({"ca": OLD_CA.pem + CA.pem})
    assert expired([mixed], time.time()) == []


def test_the_canonical_form_keeps_references_and_their_order() -> None:
    text = f"""
version: 1
services:
  crm:
    targets:
    - tls: {{server_name: b.example, ca: "{file("ca.pem")}"}}
      url: https://b
    tls: {{minimum: "1.3", key: "{file("own.key")}", certificate: "{file("own.pem")}"}}
"""
    written = dump(parse(text).structure)
    assert canonical(parse(written).structure) == canonical(parse(text).structure)
    assert written.index("certificate") < written.index("key: ") < written.index("minimum")
    assert written.index("ca: ") < written.index("server_name")


@pytest.mark.parametrize("place", ["service", "target"])
def test_a_key_is_masked_even_where_it_may_not_be(place: str) -> None:
    """Drafts and proposals are shown before they are refused."""
    tls = {"ca": CA.pem, "key": OWN.key_pem, "certificate": FILES["both.pem"]}
    crm: dict[str, Any] = {"targets": [{"url": "https://a", **({"tls": tls} if place == "target" else {})}]}
    crm |= {"tls": tls} if place == "service" else {}
    masked = literals.mask({"version": 1, "services": {"crm": crm}}, b"key")
    assert "PRIVATE" not in str(masked.structure)
    assert CA.pem in str(masked.structure.values()).replace("\\n", "\n")
    assert len(literals.literal_secrets({"version": 1, "services": {"crm": crm}})) == 2


class Rotation:
    """Files that are replaced."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self.files = dict(files)
        self.watched = WatchedSecrets(self.look_up)

    def look_up(self, name: str) -> str | None:
        if name not in self.files:
            raise UnresolvedSecret(f"the file {name.removeprefix('file:')} does not exist")
        return self.files[name]

    def poll(self) -> bool:
        self.watched.poll()
        return self.watched.poll()

    def load(self) -> tuple[Service, frozenset[str]]:
        tls = {"ca": "file:/ca", "certificate": "file:/c", "key": "file:/k"}
        items = {"crm": {"targets": [{"url": "https://a"}], "tls": tls}}
        decoded = decode_each(items, self.watched.value, self.watched.outdated)
        return decoded.services[0], decoded.invalid


def test_a_renewed_certificate_is_used_and_half_of_one_is_not() -> None:
    renewed = CA.client()
    rotation = Rotation({"file:/ca": CA.pem, "file:/c": OWN.pem, "file:/k": OWN.key_pem})
    before, _ = rotation.load()
    rotation.files["file:/c"] = renewed.pem
    assert rotation.poll()
    between, invalid = rotation.load()
    assert invalid == {"crm"}, "so that a running gateway continues with the earlier pair"
    assert between.faults == ("tls.key: the key belongs to another certificate",)
    rotation.files["file:/k"] = renewed.key_pem
    assert rotation.poll()
    after, invalid = rotation.load()
    assert (invalid, after.faults) == (frozenset(), ())
    assert (
        before.targets[0].tls
        != after.targets[0].tls
        == TlsPolicy(ca=CA.pem, certificate=renewed.pem, key=renewed.key_pem)
    )


def test_a_file_that_disappears_keeps_its_last_content_with_a_fault() -> None:
    rotation = Rotation({"file:/ca": CA.pem, "file:/c": OWN.pem, "file:/k": OWN.key_pem})
    before, _ = rotation.load()
    del rotation.files["file:/ca"]
    assert rotation.poll()
    after, invalid = rotation.load()
    assert after.targets == before.targets
    assert invalid == frozenset()
    assert after.faults == ("tls.ca: the file /ca does not exist; the last value read stays in use",)
