"""TLS with targets of private authorities, over real sockets: who is trusted, by which name, and as whom."""

import asyncio
import ssl

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from routing.backend.client import Backend, Call
from routing.errors import BadGateway, CallFailed
from routing.router.policy import Target
from routing.tls.pem import key_fault, pair_fault
from routing.tls.policy import TlsPolicy, TlsVersion
from tests.internal_ca import NAME, InternalCa, TlsServer, tls_server, validity
from tests.routing.backend.calls import GENEROUS, call, read

CA = InternalCa()
OTHER_CA = InternalCa("Other CA")
SERVER = CA.server(NAME, "*.wild.example")


async def fetch(backend: Backend, server: TlsServer, tls: TlsPolicy | None, host: str = "127.0.0.1") -> int:
    target = Target(f"https://{host}:{server.port}", tls=tls)
    response = await backend.send(target, call(), GENEROUS)
    await read(response)
    return response.status


async def failure(backend: Backend, server: TlsServer, tls: TlsPolicy | None, host: str = "127.0.0.1") -> CallFailed:
    with pytest.raises(CallFailed) as fault:
        await fetch(backend, server, tls, host)
    return fault.value


async def refusal(backend: Backend, server: TlsServer, tls: TlsPolicy) -> CallFailed:
    """Asyncio's own loop, unlike uvloop, may report the reset that follows an alert in place of the alert."""
    for _ in range(100):
        fault = await failure(backend, server, tls)
        if not fault.reason.startswith("connection "):
            break
    return fault


async def test_a_private_authority_is_trusted_where_it_is_configured_and_nowhere_else(backend: Backend) -> None:
    with tls_server(SERVER) as server:
        assert await fetch(backend, server, TlsPolicy(ca=CA.pem)) == 200
        for other in (None, TlsPolicy(), TlsPolicy(ca=OTHER_CA.pem)):
            assert (await failure(backend, server, other)).reason == "certificate: unknown issuer"
        assert await fetch(backend, server, TlsPolicy(ca=OTHER_CA.pem + CA.pem)) == 200


@pytest.mark.parametrize(
    ("name", "sent", "reason"),
    [
        ("", None, ""),
        (NAME, NAME, ""),
        ("a.wild.example", "a.wild.example", ""),
        ("a.b.wild.example", "a.b.wild.example", "certificate: hostname mismatch"),
        ("wild.example", "wild.example", "certificate: hostname mismatch"),
        ("127.0.0.1", None, ""),
        ("127.0.0.2", None, "certificate: IP address mismatch"),
    ],
)
async def test_the_server_name_is_sent_and_verified(backend: Backend, name: str, sent: str | None, reason: str) -> None:
    policy = TlsPolicy(ca=CA.pem, server_name=name)
    with tls_server(SERVER) as server:
        if reason:
            assert (await failure(backend, server, policy)).reason == reason
        else:
            assert await fetch(backend, server, policy) == 200
        assert server.names == [sent]


async def test_the_url_gives_the_name_where_none_is_set(backend: Backend) -> None:
    with tls_server(CA.server("localhost")) as server:
        assert await fetch(backend, server, TlsPolicy(ca=CA.pem), "localhost") == 200
        assert server.names == ["localhost"]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_the_gateway_shows_its_certificate_to_targets_that_ask_for_one(
    backend: Backend, version: ssl.TLSVersion
) -> None:
    with tls_server(SERVER, clients=CA.pem, version=version) as server:
        assert await fetch(backend, server, CA.identity("gateway")) == 200
        assert server.clients == ["gateway"]


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        (TlsPolicy(ca=CA.pem), "client certificate: required"),
        (
            TlsPolicy(ca=CA.pem, certificate=(stranger := OTHER_CA.client()).pem, key=stranger.key_pem),
            "client certificate: unknown issuer",
        ),
        (
            TlsPolicy(ca=CA.pem, certificate=(expired := CA.client(**validity(-9, -1))).pem, key=expired.key_pem),
            "client certificate: expired",
        ),
    ],
)
async def test_a_target_that_does_not_accept_the_gateway_is_named_as_the_reason(
    backend: Backend, policy: TlsPolicy, reason: str
) -> None:
    """And the call may be repeated at another target, whatever its method: the target has not read it."""
    with tls_server(SERVER, clients=CA.pem) as server:
        fault = await refusal(backend, server, policy)
        assert isinstance(fault, BadGateway)
        assert (fault.reason, fault.unsent) == (reason, True)
        assert server.clients == []


async def test_with_tls_1_2_the_reason_is_known_before_anything_is_sent(backend: Backend) -> None:
    with tls_server(SERVER, clients=CA.pem, version=ssl.TLSVersion.TLSv1_2) as server:
        fault = await failure(backend, server, TlsPolicy(ca=CA.pem))
        assert "client certificate is required" in fault.reason
        assert fault.unsent


async def test_connections_of_two_identities_are_never_mixed(backend: Backend) -> None:
    policies = [CA.identity(name) for name in ("first", "second")]
    with tls_server(SERVER, clients=CA.pem) as server:
        for policy in (*policies, *policies, *policies):
            await fetch(backend, server, policy)
        assert server.clients == ["first", "second"] * 3
        assert server.connections == 2


async def test_equal_settings_share_connections(backend: Backend) -> None:
    issued = CA.client()
    with tls_server(SERVER, clients=CA.pem) as server:
        for _ in range(2):
            await fetch(backend, server, TlsPolicy(ca=CA.pem, certificate=issued.pem, key=issued.key_pem))
        assert server.connections == 1


async def test_a_connection_whose_server_was_verified_by_another_name_or_authority_is_not_used(
    backend: Backend,
) -> None:
    with tls_server(SERVER) as server:
        assert await fetch(backend, server, TlsPolicy(ca=CA.pem, server_name=NAME)) == 200
        for policy in (TlsPolicy(ca=CA.pem, server_name="other.example"), TlsPolicy(ca=OTHER_CA.pem, server_name=NAME)):
            assert (await failure(backend, server, policy)).reason.startswith("certificate: ")


async def test_no_session_of_one_identity_is_resumed_with_another(backend: Backend) -> None:
    close = Call("GET", b"/", [], None, binds_connection=True)
    with tls_server(SERVER, clients=CA.pem) as server:
        for name in ("first", "second", "first"):
            await read(await backend.send(Target(server.url, tls=CA.identity(name)), close, GENEROUS))
        assert server.resumed == [False] * 3


async def test_a_chain_is_sent_and_an_issuing_authority_is_trusted_without_its_root(backend: Backend) -> None:
    issuing = InternalCa("Issuing CA", CA.certificate)
    server_certificate, own = issuing.server(), issuing.client()
    chained = own.pem + issuing.pem
    with tls_server(server_certificate, chain=issuing.pem, clients=CA.pem) as server:
        assert await fetch(backend, server, TlsPolicy(ca=CA.pem, certificate=chained, key=own.key_pem)) == 200
        policy = TlsPolicy(ca=issuing.pem, certificate=chained, key=own.key_pem)
        assert await fetch(backend, server, policy) == 200
        alone = TlsPolicy(ca=CA.pem, certificate=own.pem, key=own.key_pem)
        assert (await refusal(backend, server, alone)).reason == "client certificate: unknown issuer"
    with tls_server(server_certificate) as server:
        reason = (await failure(backend, server, TlsPolicy(ca=CA.pem))).reason
        assert reason == "certificate: unknown issuer"


async def test_the_minimum_version(backend: Backend) -> None:
    with tls_server(SERVER, version=ssl.TLSVersion.TLSv1_2) as server:
        assert await fetch(backend, server, TlsPolicy(ca=CA.pem, minimum=TlsVersion.TLS_1_2)) == 200
        fault = await failure(backend, server, TlsPolicy(ca=CA.pem, minimum=TlsVersion.TLS_1_3))
        assert fault.reason == "TLS error: no TLS version in common"


@pytest.mark.parametrize("form", ["pkcs8", "traditional", "crlf", "comments", "parameters", "one line", "escaped"])
async def test_keys_and_certificates_in_the_forms_that_tools_write(backend: Backend, form: str) -> None:
    issued = CA.client()
    key, certificate, ca = issued.key_pem, issued.pem, CA.pem
    if form in ("traditional", "parameters"):
        key = issued.key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
    if form == "parameters":
        key = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n" + key
    if form == "crlf":
        key, certificate, ca = (text.replace("\n", "\r\n") for text in (key, certificate, ca))
    if form == "comments":
        bag = "Bag Attributes\n    friendlyName: Schlüssel - eins\n"
        key, certificate, ca = bag + key, bag + certificate, f"{bag}{ca}{bag}{OTHER_CA.pem}"
    if form == "one line":
        certificate, ca = (text.replace("\n", " ") for text in (certificate, ca))
    if form == "escaped":
        key, certificate, ca = (text.replace("\n", "\\n") for text in (key, certificate, ca))
    assert not key_fault(key)
    assert not pair_fault(certificate, key)
    with tls_server(SERVER, clients=CA.pem) as server:
        assert await fetch(backend, server, TlsPolicy(ca=ca, certificate=certificate, key=key)) == 200


@pytest.mark.parametrize(
    ("key", "form"),
    [
        (rsa.generate_private_key(65537, 2048), PrivateFormat.PKCS8),
        (rsa.generate_private_key(65537, 2048), PrivateFormat.TraditionalOpenSSL),
        (ed25519.Ed25519PrivateKey.generate(), PrivateFormat.PKCS8),
    ],
)
async def test_keys_of_other_kinds(backend: Backend, key: rsa.RSAPrivateKey, form: PrivateFormat) -> None:
    issued = CA.client(key=key)
    pem = key.private_bytes(Encoding.PEM, form, NoEncryption()).decode()
    with tls_server(SERVER, clients=CA.pem) as server:
        assert await fetch(backend, server, TlsPolicy(ca=CA.pem, certificate=issued.pem, key=pem)) == 200


async def test_calls_at_once_with_new_settings_make_one_connection_each(backend: Backend) -> None:
    policy = CA.identity()
    with tls_server(SERVER, clients=CA.pem) as server:
        assert await asyncio.gather(*(fetch(backend, server, policy) for _ in range(5))) == [200] * 5
        assert set(server.clients) == {"gateway"}


def test_nothing_of_the_settings_is_in_their_representation() -> None:
    policy = CA.identity()
    assert repr(policy) == "TlsPolicy(ca, certificate, key)"
    assert "PRIVATE" not in repr(Target("https://a", tls=policy))
