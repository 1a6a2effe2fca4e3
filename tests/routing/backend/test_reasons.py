"""Why calls fail, with real sockets and certificates: in the error's `reason`, never in what clients get."""

import asyncio
import datetime
import socket
import ssl
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from routing.backend.client import Backend
from routing.backend.dialer import Dialer
from routing.backend.names import NameTable
from routing.backend.reasons import failure_reason
from routing.errors import BadGateway, CallFailed, UpstreamTimeout
from routing.router.policy import Target, Timeout
from tests.origin import Peer, ScriptedOrigin
from tests.routing.backend.calls import GENEROUS, OK, call, chunks, read
from tests.routing.backend.names import FakeResolver

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


async def failure(backend: Backend, url: str, timeouts: Timeout = GENEROUS, **more: object) -> CallFailed:
    async def fetch() -> None:
        response = await backend.send(Target(url), call(**more), timeouts)  # type: ignore[arg-type]
        await read(response)

    with pytest.raises(CallFailed) as fault:
        await fetch()
    assert fault.value.detail == fault.value.client_detail
    return fault.value


async def test_a_refused_connection_is_a_bad_gateway_without_the_address(backend: Backend) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        error = await failure(backend, f"http://127.0.0.1:{port}")
    assert isinstance(error, BadGateway)
    assert "127.0.0.1" not in error.detail
    assert str(port) not in error.detail
    assert (error.code, error.reason, error.unsent) == ("bad_gateway", "connection refused", True)


@pytest.mark.parametrize("name", ["no-such-name.invalid", "a" * 64 + ".invalid"])
async def test_a_name_that_does_not_exist(backend: Backend, name: str) -> None:
    error = await failure(backend, f"http://{name}")
    assert isinstance(error, BadGateway)
    assert error.reason == "no such name" or error.reason.startswith("name resolution failed")
    assert error.unsent


async def test_a_name_server_without_an_answer_is_another_reason_than_a_missing_name() -> None:
    assert failure_reason(socket.gaierror(socket.EAI_NONAME, "x")) == "no such name"
    assert failure_reason(socket.gaierror(socket.EAI_AGAIN, "temporary")) == "name resolution failed: temporary"


async def test_a_lookup_that_takes_too_long_is_told_from_a_connection() -> None:
    resolver = FakeResolver("127.0.0.1")
    resolver.answered.clear()
    backend = Backend(dialer=Dialer(NameTable(lookup=resolver)))
    error = await failure(backend, "http://crm.example:1", Timeout(connect=0.05))
    assert (error.reason, error.unsent) == ("name resolution timeout", True)
    resolver.answered.set()
    error = await failure(backend, "http://crm.example:1", Timeout(connect=5))
    assert error.reason == "connection refused"
    await backend.close()


async def test_each_timeout_is_named(backend: Backend) -> None:
    async def hang(peer: Peer) -> None:
        await peer.wait_closed()

    async def hang_in_body(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsome")
        await peer.wait_closed()

    async with ScriptedOrigin(hang) as origin:
        slow = await failure(backend, origin.url, Timeout(connect=5, read=0.05, total=5))
        total = await failure(backend, origin.url, Timeout(connect=5, read=5, total=0.05))
    assert [type(error) for error in (slow, total)] == [UpstreamTimeout] * 2
    assert (slow.reason, total.reason) == ("read timeout", "total timeout")
    assert not slow.unsent
    async with ScriptedOrigin(hang_in_body) as origin:
        assert (await failure(backend, origin.url, Timeout(connect=5, idle=0.05))).reason == "idle timeout"


async def test_a_connection_that_does_not_open_in_time(backend: Backend) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        error = await failure(backend, f"http://127.0.0.1:{address[1]}", Timeout(connect=0.05))
        for filler in fillers:
            filler.close()
    assert (error.reason, error.unsent) == ("connect timeout", True)


async def test_a_lost_connection(backend: Backend) -> None:
    async def reset(peer: Peer) -> None:
        peer.reset()

    async def close(peer: Peer) -> None:
        await peer.read_body()  # else the close would be a reset
        peer.close()

    async def reset_in_body(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsome")
        await asyncio.sleep(0.05)
        peer.reset()

    async def close_in_body(peer: Peer) -> None:
        await peer.read_body()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsome")
        peer.close()

    reasons = []
    for script in (reset, close, reset_in_body, close_in_body):
        async with ScriptedOrigin(script) as origin:
            error = await failure(backend, origin.url, method="POST", body=chunks(b"1"), length=1)
            reasons.append(error.reason)
            assert not error.unsent
    assert reasons == [
        "connection reset before the response",
        "connection closed before the response",
        "connection reset during the response",
        "connection closed during the response",
    ]


BARE_LF = "a line ends with LF without CR (RFC 9112 section 2.2)"


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (b"SSH-2.0-OpenSSH\r\n\r\n", "protocol error: "),
        (b"HTTP/1.1 200 OK\r\nX: a\r\n" + b"X: a\r\n" * 200 + b"\r\n", "protocol error: too many or too large header"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "protocol error: unsupported transfer coding"),
        (b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", f"protocol error: {BARE_LF}"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\n\r\n", f"protocol error: {BARE_LF}"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\n", f"protocol error: {BARE_LF}"),
        (b"HTTP/1.1 200 OK\r\nX: a\rContent-Length: 0\r\n\r\n", "protocol error: a line has CR without LF"),
        (b"HTTP/1.1 200 OK\r\nX\x01: a\r\n\r\n\n", "protocol error: Invalid header token"),
        (b"HTTP/1.1 999 No\r\nContent-Length: 0\r\n\r\n", "protocol error: the status 999 is not valid"),
        (b"HTTP/1.1 600 No\r\nContent-Length: 0\r\n\r\n", "protocol error: the status 600 is not valid"),
        (b"HTTP/1.1 099 No\r\nContent-Length: 0\r\n\r\n", "protocol error: the status 99 is not valid here"),
        (b"HTTP/1.1 1000 No\r\nContent-Length: 0\r\n\r\n", "protocol error: Invalid response status"),
    ],
)
async def test_a_response_that_is_not_http(backend: Backend, response: bytes, reason: str) -> None:
    async with ScriptedOrigin(response) as origin:
        error = await failure(backend, origin.url)
    assert isinstance(error, BadGateway)
    assert error.reason.startswith(reason)
    assert len(error.reason) > len("protocol error: ")


Issue = Callable[..., ssl.SSLContext]


@pytest.fixture
def issue(tmp_path: Path) -> Issue:
    """A server's context with a new certificate, and the same as `trusted.pem` unless it is not to be trusted."""

    def context(*, name: str = "127.0.0.1", expired: bool = False, trusted: bool = True) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        is_address = name == "127.0.0.1"
        alternative: x509.GeneralName = x509.IPAddress(ip_address(name)) if is_address else x509.DNSName(name)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - 10 * DAY)
            .not_valid_after(NOW - DAY if expired else NOW + DAY)
            .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
            .sign(key, hashes.SHA256())
        )
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        plain = serialization.NoEncryption()
        secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        (tmp_path / "server.pem").write_bytes(secret + pem)
        if trusted:
            (tmp_path / "trusted.pem").write_bytes(pem)
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(tmp_path / "server.pem")
        return server

    return context


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [
        ({"trusted": False}, "certificate: self-signed"),
        ({"expired": True}, "certificate: expired"),
        ({"name": "other.example"}, "certificate: IP address mismatch"),
    ],
)
async def test_each_fault_of_a_certificate_is_named(
    issue: Issue, tmp_path: Path, certificate: dict[str, object], reason: str
) -> None:
    server = issue(**certificate)
    trusted = tmp_path / "trusted.pem"
    backend = Backend(tls=ssl.create_default_context(cafile=str(trusted) if trusted.exists() else None))
    async with ScriptedOrigin(OK, tls=server) as origin:
        error = await failure(backend, f"https://127.0.0.1:{origin.port}")
    await backend.close()
    assert (error.code, error.reason, error.unsent) == ("bad_gateway", reason, True)


def test_a_target_that_speaks_http_2_alone_is_named() -> None:
    error = ssl.SSLError(1, "alert")
    error.reason = "TLSV1_ALERT_NO_APPLICATION_PROTOCOL"
    assert failure_reason(error) == "TLS error: the target does not speak HTTP/1.1"


async def test_a_server_that_speaks_no_tls(backend: Backend) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        error = await failure(backend, f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    assert error.reason.startswith("TLS error: ")
    assert error.unsent
