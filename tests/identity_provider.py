"""An identity provider: discovery, a key set with rotation, signed tokens and introspection, over real HTTP."""

import json
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

AUDIENCE = "my-api"
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def private_key(name: str, algorithm: str = "RS256") -> PrivateKey:
    """RS256 and PS256 have the same keys."""
    return _private_key(name, algorithm.replace("PS", "RS"))


@cache
def _private_key(name: str, algorithm: str) -> PrivateKey:
    if algorithm == "ES256":
        return ec.generate_private_key(ec.SECP256R1())
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def jwk(kid: str | None, algorithm: str = "RS256", name: str | None = None, **members: Any) -> dict[str, Any]:
    """The public key of `name`, or of `kid`."""
    public = private_key(name or kid or "", algorithm).public_key()
    members = {"use": "sig", "alg": algorithm} | members
    own = {} if kid is None else {"kid": kid}
    found = {**get_default_algorithms()[algorithm].to_jwk(public, as_dict=True), **own, **members}
    return {key: value for key, value in found.items() if value is not None}


def public_pem(kid: str) -> bytes:
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    return private_key(kid).public_key().public_bytes(encoding, form)


def encoded(part: object) -> str:
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


class Provider:
    """`fetches` counts the requests by path. `status` 0 closes connections without a response; `gate` delays responses
    while it is clear. `introspected` are the responses for opaque tokens.
    """

    def __init__(self, issuer: str = "https://issuer.example") -> None:
        self.issuer = issuer
        self.keys = [jwk("k1")]
        self.metadata: dict[str, Any] = {}
        self.metadata_path = "/.well-known/openid-configuration"
        self.status = 200
        self.cache_control = "max-age=3600"
        self.fetches: dict[str, int] = {}
        self.questions: list[tuple[str, str]] = []
        self.introspected: dict[str, dict[str, Any]] = {}
        self.gate = threading.Event()
        self.gate.set()

    @property
    def key_fetches(self) -> int:
        return self.fetches.get("/keys", 0)

    def claims(self, **overrides: Any) -> dict[str, Any]:
        """Valid claims with some replaced; None removes a claim."""
        now = int(time.time())
        valid = {"iss": self.issuer, "aud": AUDIENCE, "sub": "ada", "iat": now - 30, "exp": now + 3_600}
        return {name: value for name, value in (valid | overrides).items() if value is not None}

    def token(
        self, kid: str = "k1", algorithm: str = "RS256", *, header: dict[str, Any] | None = None, **claims: Any
    ) -> str:
        return self.signed(self.claims(**claims), kid, algorithm, header=header)

    def signed(
        self,
        claims: dict[str, Any],
        kid: str | None,
        algorithm: str = "RS256",
        *,
        header: dict[str, Any] | None = None,
        name: str | None = None,
    ) -> str:
        own = {} if kid is None else {"kid": kid}
        return jwt.encode(
            claims, private_key(name or kid or "", algorithm), algorithm, headers={**own, **(header or {})}
        )

    def response(self, path: str) -> tuple[int, Any]:
        if path == self.metadata_path:
            return 200, {"issuer": self.issuer, "jwks_uri": f"{self.issuer}/keys", **self.metadata}
        return (200, {"keys": self.keys}) if path == "/keys" else (404, {})

    def introspection(self, authorization: str, form: str) -> tuple[int, Any]:
        token = parse_qs(form).get("token", [""])[0]
        self.questions.append((authorization, token))
        return 200, self.introspected.get(token, {"active": False})


@contextmanager
def serving(provider: Provider) -> Iterator[Provider]:
    """Serves the provider at a loopback address, which becomes its issuer."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            provider.fetches[self.path] = provider.fetches.get(self.path, 0) + 1
            self._respond(*provider.response(self.path))

        def do_POST(self) -> None:
            form = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
            self._respond(*provider.introspection(self.headers.get("authorization", ""), form))

        def _respond(self, status: int, content: Any) -> None:
            provider.gate.wait(10)
            if provider.status == 0:
                self.close_connection = True
                return
            body = json.dumps(content).encode()
            self.send_response(status if provider.status == 200 else provider.status)
            self.send_header("Cache-Control", provider.cache_control)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    provider.issuer = f"http://127.0.0.1:{server.server_address[1]}"
    thread.start()
    try:
        yield provider
    finally:
        provider.gate.set()
        server.shutdown()
        server.server_close()
