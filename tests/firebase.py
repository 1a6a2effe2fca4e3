"""A fake of Firebase: signs real RS256 ID tokens and serves the certificates to verify them."""

import json
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest.mock import patch

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

PROJECT = "gateway-test"
KID = "key-1"


@cache
def _key(_name: str) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def certificate(name: str) -> str:
    """A self-signed certificate of the named key, as PEM."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "securetoken.system.gserviceaccount.com")])
    begin = datetime.now(UTC) - timedelta(days=1)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(_key(name).public_key())
    builder = builder.serial_number(1).not_valid_before(begin).not_valid_after(begin + timedelta(days=30))
    return builder.sign(_key(name), hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def encoded(part: object) -> str:
    """A part of a token: JSON, or bytes unchanged, in base64url without padding."""
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


class FirebaseIssuer:
    """`answer` and `status` are the response of the certificates' URL, and `fetches` counts the requests to it.

    A `status` of 0 closes the connection without a response; `gate` delays responses while it is clear.
    """

    def __init__(self) -> None:
        self.answer = json.dumps({KID: certificate(KID)}).encode()
        self.status = 200
        self.cache_control = "public, max-age=3600"
        self.fetches = 0
        self.gate = threading.Event()
        self.gate.set()

    def publish(self, *kids: str) -> None:
        """Make these the issuer's keys."""
        self.answer = json.dumps({kid: certificate(kid) for kid in kids}).encode()

    def claims(self, **overrides: object) -> dict[str, object]:
        """Valid claims with some replaced; None removes a claim."""
        now = int(time.time())
        valid = {
            "iss": f"https://securetoken.google.com/{PROJECT}",
            "aud": PROJECT,
            "auth_time": now - 60,
            "sub": "ada",
            "iat": now - 30,
            "exp": now + 3600,
            "firebase": {"sign_in_provider": "password"},
        }
        return {name: value for name, value in (valid | overrides).items() if value is not None}

    def token(self, *, header: dict[str, object] | None = None, signer: str = KID, **overrides: object) -> str:
        """A signed token. `header` replaces the header, `signer` names the key that signs."""
        head = {"alg": "RS256", "kid": KID, "typ": "JWT"} if header is None else header
        content = f"{encoded(head)}.{encoded(self.claims(**overrides))}"
        return f"{content}.{encoded(_key(signer).sign(content.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


@contextmanager
def serving(issuer: FirebaseIssuer) -> Iterator[FirebaseIssuer]:
    """Serve the issuer's certificates on a loopback port, and replace Google's URL in verifiers created meanwhile."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.fetches += 1
            issuer.gate.wait(10)
            if not issuer.status:
                return
            self.send_response_only(issuer.status)
            self.send_header("Date", formatdate(usegmt=True))
            self.send_header("Cache-Control", issuer.cache_control)
            self.send_header("Content-Length", str(len(issuer.answer)))
            self.end_headers()
            self.wfile.write(issuer.answer)

        def log_message(self, *arguments: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}/certificates"
    try:
        with patch("firebase_admin._token_gen.ID_TOKEN_CERT_URI", address):
            yield issuer
    finally:
        issuer.gate.set()
        server.shutdown()
        thread.join()
        server.server_close()
