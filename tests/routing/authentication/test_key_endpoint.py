"""One fetch of the signing keys, over real connections."""

import gzip
import json
import socket
import zlib
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from threading import Event, Thread

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from routing.authentication import key_endpoint
from routing.authentication.key_endpoint import KeyFetchFailed, fetch, freshness, get, parse, send
from tests.firebase import KID, FirebaseIssuer, certificate, serving


@contextmanager
def scripted(respond: Callable[[socket.socket, Event], None], requests: list[bytes] | None = None) -> Iterator[str]:
    """A server that answers its first connection so; the event is set when the test is over. What it has received is
    added to `requests`.
    """
    over = Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                received = connection.recv(65_536)
                if requests is not None:
                    requests.append(received)
                respond(connection, over)

        thread = Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}/"
        finally:
            over.set()
            thread.join(5)


def dripping(connection: socket.socket, over: Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while not over.wait(0.05):
        connection.sendall(b" ")


def endless(connection: socket.socket, over: Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while not over.is_set():
        connection.sendall(b" " * 65_536)


def hanging(_connection: socket.socket, over: Event) -> None:
    over.wait(10)


def test_keys_and_their_freshness() -> None:
    with serving(FirebaseIssuer()):
        from firebase_admin import _token_gen

        fetched = fetch(_token_gen.ID_TOKEN_CERT_URI)
    assert list(fetched.certificates) == [KID]
    assert fetched.seconds == 3600


@pytest.mark.parametrize(
    ("respond", "reason"), [(dripping, "timeout"), (endless, "the response is too large"), (hanging, "timeout")]
)
def test_a_fetch_is_bounded(
    respond: Callable[[socket.socket, Event], None], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_endpoint, "READ_SECONDS", 0.5)
    monkeypatch.setattr(key_endpoint, "FETCH_SECONDS", 0.5)
    with scripted(respond) as url, pytest.raises(KeyFetchFailed, match=reason):
        fetch(url)


def test_a_response_may_be_encoded_and_have_a_byte_order_mark() -> None:
    """Though nobody asks for it: static files and some frameworks are encoded for everybody."""
    content = BOM_UTF8 + json.dumps({"keys": ["x" * 100_000]}).encode()
    for coding, body in (("gzip", gzip.compress(content)), ("deflate", zlib.compress(content))):
        head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        with scripted(partial(_send, head + body)) as url:
            assert get(url).body == content.removeprefix(BOM_UTF8)
        with scripted(partial(_send, head + body)) as url, pytest.raises(KeyFetchFailed, match="too large"):
            get(url, 50_000)


def _send(response: bytes, connection: socket.socket, _over: Event) -> None:
    connection.sendall(response)


def test_a_netrc_replaces_no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    requests: list[bytes] = []

    def respond(connection: socket.socket, _over: Event) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with scripted(respond, requests) as url:
        send("POST", url, headers={"Authorization": "Basic ours"}, form={"a": "b"})
    assert b"\r\nAuthorization: Basic ours\r\n" in requests[0]
    with scripted(respond, requests) as url:
        get(url)
    assert b"Authorization" not in requests[1]


def test_a_refused_connection_is_a_failure_without_details() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(KeyFetchFailed) as failure:
        fetch(f"http://127.0.0.1:{port}/")
    assert str(failure.value) == "ConnectionError"


def elliptic() -> str:
    """A certificate of a key that cannot sign these tokens."""
    key = ec.generate_private_key(ec.SECP256R1())
    issued = x509.load_pem_x509_certificate(certificate(KID).encode())
    builder = x509.CertificateBuilder(issued.subject, issued.issuer, key.public_key(), 1)
    builder = builder.not_valid_before(issued.not_valid_before_utc).not_valid_after(issued.not_valid_after_utc)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"3",
        b"{}",
        b'"key"',
        b"\xff",
        b'{"a":' * 100_000,
        b'{"a": 1, "b": null, "c": ["x"], "d": "x"}',
        b'{"keys": [{"kid": "a", "kty": "RSA", "n": "AQAB", "e": "AQAB"}]}',
        json.dumps({"a": elliptic()}).encode(),
    ],
)
def test_what_contains_no_certificate_is_a_failure(body: bytes) -> None:
    with pytest.raises(KeyFetchFailed):
        parse(body, {})


def test_members_that_are_no_certificates_are_left_out() -> None:
    body = json.dumps({"bad": "x", KID: certificate(KID), "keys": [], "curve": elliptic()})
    assert list(parse(body.encode(), {}).certificates) == [KID]


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 300),
        ({"Cache-Control": "public, max-age=19845, must-revalidate, no-transform"}, 19_845),
        ({"Cache-Control": "max-age=600", "Age": "100"}, 500),
        ({"Cache-Control": "max-age=600", "Age": "700"}, 1),
        ({"Cache-Control": "Max-Age=600"}, 600),
        ({"cache-control": 'max-age="60"'}, 60),
        ({"Cache-Control": "max-age=0"}, 1),
        ({"Cache-Control": "max-age=-5"}, 1),
        ({"Cache-Control": "max-age=soon"}, 1),
        ({"Cache-Control": "max-age=" + "9" * 5_000}, 86_400),
        ({"Cache-Control": "no-store"}, 1),
        ({"Cache-Control": "max-age=600, no-cache"}, 1),
        ({"Cache-Control": "public"}, 300),
    ],
)
def test_how_long_keys_are_fresh(headers: dict[str, str], seconds: float) -> None:
    assert freshness(headers) == seconds
