"""Client certificates through a real nginx, and signed requests of a real library and of openssl and curl, with two
workers over Redis.
"""

import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from http_message_signatures import HTTPMessageSigner, HTTPSignatureKeyResolver, algorithms

from tests import certificates
from tests.needs import skip_or_fail
from tests.nginx import nginx
from tests.ports import free_port
from tests.processes import eventually
from tests.redis_server import RedisServer
from tests.signing import SECRET
from tests.system.backend import Backend
from tests.system.conftest import Seed, gateway
from tests.system.server import ROOT, Server

NOW = datetime.now(UTC)
DATES: dict[str, Any] = {"begins": NOW - timedelta(days=1), "ends": NOW + timedelta(days=1)}
CA = certificates.authority(**DATES)
LEAF = certificates.client(CA, uris=["spiffe://acme/ns/shop/web"], **DATES)
REVOKED = certificates.client(CA, uris=["spiffe://acme/ns/shop/stolen"], **DATES)
STRANGER = certificates.client(certificates.authority("Other", **DATES), uris=["spiffe://acme/ns/shop/web"], **DATES)
FIELDS = """
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto https;
      proxy_set_header X-SSL-Client-Cert $ssl_client_escaped_cert;
      proxy_set_header X-SSL-Client-Verify $ssl_client_verify;
"""
CONSUMERS = """
version: 1
services: {}
consumers: {shop: {identities: [{certificate: "uri:spiffe://acme/ns/shop/*"}]}}
"""
WHOAMI = "/api/v1/plain/whoami"


class Programs(HTTPSignatureKeyResolver):
    """Private keys by key id."""

    def __init__(self) -> None:
        self.keys: dict[str, Any] = {
            "shop-ed25519": ed25519.Ed25519PrivateKey.generate(),
            "shop-p256": ec.generate_private_key(ec.SECP256R1()),
            "shop-pss": rsa.generate_private_key(65_537, 2_048),
            "shop-rsa": rsa.generate_private_key(65_537, 2_048),
        }

    def resolve_private_key(self, key_id: str) -> Any:
        return SECRET.encode() if key_id == "shop-hmac" else self.keys[key_id]

    def resolve_public_key(self, key_id: str) -> Any:
        raise NotImplementedError

    def public(self, key_id: str) -> bytes:
        public: bytes = self.keys[key_id].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return public


PROGRAMS = Programs()
ALGORITHMS = {
    "shop-ed25519": ("ed25519", algorithms.ED25519),
    "shop-p256": ("ecdsa-p256-sha256", algorithms.ECDSA_P256_SHA256),
    "shop-pss": ("rsa-pss-sha512", algorithms.RSA_PSS_SHA512),
    "shop-rsa": ("rsa-v1_5-sha256", algorithms.RSA_V1_5_SHA256),
    "shop-hmac": ("hmac-sha256", algorithms.HMAC_SHA256),
}
_CREATE = """
from django.core.management import call_command
from routing.configuration.document import parse
from routing.database.apply import apply_document
from routing.management.commands import signingkey
signingkey._SETTLE_SECONDS = 0
apply_document(parse({consumers!r}).structure, delete=())
for arguments in {arguments!r}:
    call_command("signingkey", "create", *arguments)
"""


@pytest.fixture(scope="module")
def server(seed: Seed, backend: Backend) -> Iterator[Server]:
    redis = RedisServer()
    redis.start()
    try:
        environment = {
            "REDIS_URL": redis.url,
            "TRUSTED_PROXIES": "127.0.0.1/32",
            "CLIENT_CERTIFICATES": "pem X-SSL-Client-Cert X-SSL-Client-Verify",
            "GATEWAY_SECRET_SHOP": SECRET,
        }
        made = gateway(seed, backend, "--workers", "2", **environment)
        authorities = made.directory / "ca.pem"
        authorities.write_text(CA.pem)
        made.environment["CLIENT_CA"] = str(authorities)
        revoked = made.directory / "revoked.pem"
        revoked.write_bytes(certificates.revocations(CA, REVOKED, ends=NOW + timedelta(days=1)))
        made.environment["CLIENT_CRL"] = str(revoked)
        with made as server:
            _create_keys(server)
            # By either worker: one of sixteen new connections goes to the other.
            assert eventually(lambda: all(send(server.address, "shop-rsa").status_code == 200 for _ in range(16)))
            yield server
    finally:
        redis.close()


def _create_keys(server: Server) -> None:
    arguments = []
    for keyid, (algorithm, _) in ALGORITHMS.items():
        own = ["--secret", "env:GATEWAY_SECRET_SHOP"]
        if keyid in PROGRAMS.keys:
            file = server.directory / f"{keyid}.pem"
            file.write_bytes(PROGRAMS.public(keyid))
            own = ["--public-key", str(file)]
        arguments.append([keyid, "--consumer", "shop", "--algorithm", algorithm, *own])
    server.manage("shell", "--no-imports", "-c", _CREATE.format(arguments=arguments, consumers=CONSUMERS))


def signed(
    address: str, keyid: str = "shop-ed25519", method: str = "GET", path: str = WHOAMI, data: bytes | None = None
) -> requests.PreparedRequest:
    """A request that http-message-signatures has signed."""
    request = requests.Request(method, address + path, data=data).prepare()
    signer = HTTPMessageSigner(signature_algorithm=ALGORITHMS[keyid][1], key_resolver=PROGRAMS)
    nonce, components = secrets.token_urlsafe(12), ("@method", "@target-uri")
    signer.sign(request, key_id=keyid, nonce=nonce, covered_component_ids=components, body=data)
    return request


def send(address: str, keyid: str = "shop-ed25519", **more: Any) -> requests.Response:
    return requests.Session().send(signed(address, keyid, **more))


@pytest.mark.parametrize("keyid", ALGORITHMS)
def test_every_algorithm_of_a_real_library(server: Server, keyid: str) -> None:
    response = send(server.address, keyid)
    assert (response.status_code, response.text) == (200, f"signature+shop:{keyid}")
    response = send(server.address, keyid, method="POST", path="/api/v1/plain/echo", data=b"x" * 200_000)
    assert response.status_code == 200, response.text


def test_a_request_is_accepted_once_by_all_workers(server: Server) -> None:
    """Each session is a connection of its own, which either worker may accept."""
    for _ in range(5):
        request = signed(server.address)
        statuses = [requests.Session().send(request).status_code for _ in range(8)]
        assert statuses == [200] + [401] * 7
    assert "used before" in requests.Session().send(request).text


def test_a_content_that_was_changed_is_refused_and_the_gateway_goes_on(server: Server) -> None:
    request = signed(server.address, method="POST", path="/api/v1/plain/echo", data=b"x" * 200_000)
    request.body = b"x" * 199_999 + b"y"
    response = requests.Session().send(request)
    assert (response.status_code, response.json()["detail"]) == (401, "the content does not match its Content-Digest")
    assert send(server.address, method="POST", path="/api/v1/plain/echo", data=b"x").status_code == 200


def test_the_example_with_openssl_and_curl(server: Server) -> None:
    if shutil.which("openssl") is None or shutil.which("curl") is None:
        skip_or_fail("openssl or curl is not installed")
    (script,) = re.findall(r"```sh\n(SECRET=.*?)```", (ROOT / "docs" / "signatures.md").read_text(), re.DOTALL)
    script = script.replace("the secret that was printed", SECRET)
    script = script.replace("http://127.0.0.1:8000/api/v1/crm/contacts", f"{server.address}/api/v1/plain/echo")
    script = script.replace('curl "$URL"', 'curl -s -w "%{http_code}" "$URL"')
    done = subprocess.run(["sh", "-ec", script], check=True, capture_output=True, text=True)
    assert done.stdout.endswith("200"), done.stdout


def test_the_example_in_python(server: Server, tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "signatures.md").read_text(), re.DOTALL)
    private = PROGRAMS.keys["shop-ed25519"]
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "shop.pem").write_bytes(pem)
    code = code.replace("https://gateway.example.com/api/v1/crm/contacts", f"{server.address}/api/v1/plain/echo")
    code = code.replace("shop-2026", "shop-ed25519").replace(".json())", ".status_code)")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "200"


@pytest.fixture(scope="module")
def proxied(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of an nginx that verifies client certificates if it is sent one, and its directory."""
    directory, port = tmp_path_factory.mktemp("nginx"), free_port()
    for name, issued in (("leaf", LEAF), ("revoked", REVOKED), ("stranger", STRANGER)):
        key = issued.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (directory / f"{name}.pem").write_bytes(issued.pem.encode() + key)
    (directory / "clients.pem").write_text(CA.pem)
    verify = f"ssl_client_certificate {directory}/clients.pem; ssl_verify_client optional_no_ca;"
    with nginx(directory, port, server.port, FIELDS, server=verify):
        yield f"https://127.0.0.1:{port}", directory


def test_a_certificate_through_nginx(server: Server, proxied: tuple[str, Path]) -> None:
    address, directory = proxied

    def get(name: str = "", **fields: str) -> requests.Response:
        cert = str(directory / f"{name}.pem") if name else None
        return requests.get(
            address + WHOAMI, cert=cert, headers=fields, verify=str(directory / "certificate.pem"), timeout=10
        )

    response = get("leaf")
    assert (response.status_code, response.text) == (200, "certificate+shop:uri:spiffe:%2F%2Facme%2Fns%2Fshop%2Fweb")
    response = get("revoked")
    assert (response.status_code, response.json()["detail"]) == (401, "the client certificate was revoked")
    forged = {"X-SSL-Client-Cert": LEAF.escaped, "X-SSL-Client-Verify": "SUCCESS"}
    for name in ("", "stranger"):
        for fields in ({}, forged, {"Client-Cert": f":{LEAF.base64}:"}):
            assert get(name, **fields).status_code == 401
    assert "not verified" in get("stranger").json()["detail"]
    assert requests.get(server.address + WHOAMI, headers={**forged, "X-Forwarded-For": "203.0.113.9"}, timeout=10).ok, (
        "a trusted proxy itself"
    )


def test_a_signature_through_nginx_covers_the_address_that_the_client_used(proxied: tuple[str, Path]) -> None:
    address, directory = proxied
    request = signed(address)
    response = requests.Session().send(request, verify=str(directory / "certificate.pem"))
    assert (response.status_code, response.text) == (200, "signature+shop:shop-ed25519")


@pytest.mark.alone
def test_a_revoked_key_and_a_disabled_consumer_are_refused_within_a_second(server: Server) -> None:
    assert send(server.address, "shop-pss").status_code == 200
    server.manage("signingkey", "revoke", "shop-pss")
    revoked_at = time.monotonic()
    assert eventually(lambda: {send(server.address, "shop-pss").status_code for _ in range(6)} == {401}, 10)
    assert time.monotonic() - revoked_at < 5
    assert send(server.address, "shop-rsa").status_code == 200
