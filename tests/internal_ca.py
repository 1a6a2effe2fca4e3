"""A private authority that is valid now, and TLS servers and clients with its certificates."""

import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

from cryptography.x509.oid import ExtendedKeyUsageOID

from routing.tls.policy import TlsPolicy
from tests.certificates import Issued, authority, client

NAME = "crm.internal.example"


class InternalCa:
    """`issuer` None is a root of its own."""

    def __init__(self, name: str = "Internal CA", issuer: Issued | None = None) -> None:
        self.certificate = authority(name, issuer, **validity())

    @property
    def pem(self) -> str:
        return self.certificate.pem

    def server(self, *dns: str, addresses: Sequence[str] = ("127.0.0.1",), **more: Any) -> Issued:
        names: dict[str, Any] = {"dns": dns or (NAME,), "addresses": addresses}
        names["purposes"] = [ExtendedKeyUsageOID.SERVER_AUTH]
        return client(self.certificate, "server", **names, **{**validity(), **more})

    def client(self, name: str = "gateway", **more: Any) -> Issued:
        return client(self.certificate, name, **{**validity(), **more})

    def identity(self, name: str = "gateway", **more: Any) -> TlsPolicy:
        """With a certificate of this authority, which is the one that is trusted too."""
        issued = self.client(name)
        return TlsPolicy(ca=self.pem, certificate=issued.pem, key=issued.key_pem, **more)


def validity(begins: float = -1, ends: float = 30) -> dict[str, Any]:
    """In days from now."""
    now = datetime.now(UTC).replace(microsecond=0)
    return {"begins": now + timedelta(days=begins), "ends": now + timedelta(days=ends)}


def server_context(
    issued: Issued, *, chain: str = "", clients: str = "", version: ssl.TLSVersion | None = None
) -> ssl.SSLContext:
    """`clients` is the authority, in PEM, of which clients must have a certificate. `version` is the only one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with TemporaryDirectory() as directory:
        path = Path(directory) / "server.pem"
        path.write_text(issued.key_pem + issued.pem + chain)
        context.load_cert_chain(path)
    if clients:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=clients)
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


class TlsServer(ThreadingHTTPServer):
    """Answers every request with 200. It runs in threads, as asyncio sends no alert when it refuses a client.

    `names` are those that SNI has asked for, `paths` those of requests, `clients` the common names of the certificates
    that these came with, and `connections` the number of connections of which the handshake succeeded.
    """

    daemon_threads = True

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.names: list[str | None] = []
        self.clients: list[str] = []
        self.paths: list[str] = []
        self.resumed: list[bool | None] = []
        self.connections = 0
        self.context = context
        context.sni_callback = lambda _ssl, name, _context: self.names.append(name)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def finish_request(self, request: Any, client_address: Any) -> None:
        """In a thread of the connection's own."""
        try:
            secured = self.context.wrap_socket(request, server_side=True)
        except OSError:
            return
        self.connections += 1
        self.resumed.append(secured.session_reused)
        try:
            super().finish_request(secured, client_address)
        except OSError:
            pass  # the client has closed
        finally:
            secured.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: TlsServer

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"] or 0))
        shown = self.connection.getpeercert() or {}
        names = dict(pair[0] for pair in shown.get("subject", ()))
        self.server.paths.append(self.path)
        self.server.clients.append(names.get("commonName", ""))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    do_POST = do_GET  # noqa: N815 - the base's way to name methods

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@contextmanager
def tls_server(issued: Issued, **options: Any) -> Iterator[TlsServer]:
    """Running. `options` are those of `server_context`."""
    with TlsServer(server_context(issued, **options)) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
