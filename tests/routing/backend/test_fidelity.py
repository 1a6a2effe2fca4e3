import asyncio
import os
import socket
import ssl
import subprocess
from pathlib import Path

import pytest

from routing.backend.client import Backend, Call
from routing.backend.dialer import Dialer
from routing.backend.names import NameTable
from routing.errors import BadGateway, BadRequest
from routing.router.policy import Target
from tests.origin import Peer, ScriptedOrigin
from tests.routing.backend.calls import GENEROUS, OK, call, chunks, fetch, read, send
from tests.routing.backend.names import FakeResolver


async def test_a_request_is_sent_unchanged(backend: Backend) -> None:
    async with ScriptedOrigin(OK) as origin:
        assert await fetch(backend, origin, call(path=b"/a%2Fb;x=\xff?q=%20&q=", headers=[(b"x-a", b"1")])) == (
            200,
            b"ok",
        )
    request = origin.requests[0]
    assert request.line == b"GET /a%2Fb;x=\xff?q=%20&q= HTTP/1.1"
    assert request.fields == [(b"host", b"127.0.0.1:%d" % origin.port), (b"x-a", b"1")]


async def test_the_targets_base_path_comes_first(backend: Backend) -> None:
    async with ScriptedOrigin(OK) as origin:
        await read(await backend.send(Target(origin.url + "/base/"), call(path=b"/x"), GENEROUS))
    assert origin.requests[0].line == b"GET /base/x HTTP/1.1"


async def test_the_callers_host_is_sent_when_there_is_one(backend: Backend) -> None:
    async with ScriptedOrigin(OK) as origin:
        await fetch(backend, origin, Call("GET", b"/", [], None, host=b"shop.example"))
    assert origin.requests[0].fields == [(b"host", b"shop.example")]


async def test_non_ascii_header_bytes_pass_in_both_directions(backend: Backend) -> None:
    async with ScriptedOrigin(b"HTTP/1.1 200 OK\r\nX-Name: caf\xe9 \xc3\xa9\r\nContent-Length: 0\r\n\r\n") as origin:
        response = await send(backend, origin, call(headers=[(b"x-name", b"\xff\xfe \xc3\xa9")]))
    assert (b"x-name", b"caf\xe9 \xc3\xa9") in response.headers
    assert (b"x-name", b"\xff\xfe \xc3\xa9") in origin.requests[0].fields


async def test_repeated_fields_stay_separate_and_in_order(backend: Backend) -> None:
    head = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nX-Empty:\r\nSET-COOKIE: b=2\r\nContent-Length: 0\r\n\r\n"
    async with ScriptedOrigin(head) as origin:
        response = await send(backend, origin)
    assert response.headers == [
        (b"set-cookie", b"a=1"),
        (b"x-empty", b""),
        (b"set-cookie", b"b=2"),
        (b"content-length", b"0"),
    ]


@pytest.mark.parametrize(
    ("method", "status", "fields"),
    [
        ("HEAD", 200, b"Content-Length: 1000\r\n"),
        ("HEAD", 200, b"Transfer-Encoding: chunked\r\n"),
        ("GET", 204, b"Content-Length: 5\r\n"),
        ("GET", 304, b"Content-Length: 5\r\n"),
        ("GET", 304, b""),
    ],
)
async def test_some_responses_have_no_body_whatever_their_fields(
    backend: Backend, method: str, status: int, fields: bytes
) -> None:
    async with ScriptedOrigin(b"HTTP/1.1 %d X\r\n%b\r\n" % (status, fields)) as origin:
        for _ in range(2):
            assert await fetch(backend, origin, call(method)) == (status, b"")
    assert origin.connections == (2 if fields else 1)  # a body may follow where one was announced


async def test_a_body_without_length_ends_when_the_connection_is_closed(backend: Backend) -> None:
    async def until_close(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nsome")
        await peer.send(b"thing")
        peer.close()

    async with ScriptedOrigin(until_close) as origin:
        assert await fetch(backend, origin) == (200, b"something")


async def test_a_chunked_body_is_decoded_without_extensions_and_trailers(backend: Backend) -> None:
    message = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2;a=b\r\nab\r\n1\r\nc\r\n0\r\nX-Late: 1\r\n\r\n"
    async with ScriptedOrigin(message) as origin:
        for _ in range(2):
            response = await send(backend, origin)
            assert await read(response) == b"abc"
            assert [name for name, _ in response.headers] == [b"transfer-encoding"]
    assert origin.connections == 1


async def test_chunks_are_passed_on_as_they_arrive(backend: Backend) -> None:
    first_was_read = asyncio.Event()

    async def wait_for_reader(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        await first_was_read.wait()
        await peer.send(b"1\r\nb\r\n0\r\n\r\n")

    async with ScriptedOrigin(wait_for_reader) as origin:
        response = await send(backend, origin)
        assert await anext(response.body) == b"a"
        first_was_read.set()
        assert await read(response) == b"b"


async def test_interim_responses_are_skipped(backend: Backend) -> None:
    hints = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
    async with ScriptedOrigin(hints + OK) as origin:
        response = await send(backend, origin)
        assert (response.status, response.headers, await read(response)) == (200, [(b"content-length", b"2")], b"ok")


@pytest.mark.parametrize(("method", "field"), [("POST", [(b"content-length", b"0")]), ("GET", []), ("DELETE", [])])
async def test_a_post_without_body_has_a_content_length_of_zero(
    backend: Backend, method: str, field: list[tuple[bytes, bytes]]
) -> None:
    async with ScriptedOrigin(OK) as origin:
        await fetch(backend, origin, call(method))
    assert origin.requests[0].fields[1:] == field


@pytest.mark.parametrize("length", [None, 6])
async def test_a_body_is_sent_with_its_length_or_in_chunks(backend: Backend, length: int | None) -> None:
    async with ScriptedOrigin(OK) as origin:
        for _ in range(2):
            what = call("POST", body=chunks(b"abc", b"", b"def"), length=length)
            assert await fetch(backend, origin, what) == (200, b"ok")
    assert [request.body for request in origin.requests] == [b"abcdef", b"abcdef"]
    framing = (b"transfer-encoding", b"chunked") if length is None else (b"content-length", b"6")
    assert origin.requests[0].fields[1:] == [framing]
    assert origin.connections == 1


@pytest.mark.parametrize(
    "what",
    [
        call(headers=[(b"x", b"a\r\nEvil: 1")]),
        call(headers=[(b"x", b"a\nb")]),
        call(headers=[(b"x", b"a\rb")]),
        call(headers=[(b"x", b"a\0b")]),
        call(headers=[(b"x\r\ny", b"a")]),
        call(path=b"/ HTTP/1.1\r\nEvil: 1\r\n\r\n"),
        call(path=b"/a b"),
        call(method="GET /evil"),
        Call("GET", b"/", [], None, host=b"a\r\nEvil: 1"),
    ],
)
async def test_values_that_would_break_the_syntax_are_never_sent(backend: Backend, what: Call) -> None:
    async with ScriptedOrigin(OK) as origin:
        with pytest.raises(BadRequest):
            await send(backend, origin, what)
    assert origin.connections == 0


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    path = folder / "both.pem"
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(folder / "key.pem")]
    names = "subjectAltName=IP:127.0.0.1,DNS:crm.example.com"
    name = ["-subj", "/CN=127.0.0.1", "-addext", names, "-days", "2"]
    subprocess.run(
        ["openssl", "req", "-x509", *key, *name, "-out", str(folder / "cert.pem")], check=True, capture_output=True
    )
    path.write_text((folder / "key.pem").read_text() + (folder / "cert.pem").read_text())
    return path


def serving(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


async def test_a_tls_target_is_called_and_its_connection_reused(certificate: Path) -> None:
    backend = Backend(tls=ssl.create_default_context(cafile=str(certificate)))
    async with ScriptedOrigin(OK, tls=serving(certificate)) as origin:
        for _ in range(3):
            assert await fetch(backend, origin) == (200, b"ok")
        await backend.close()
    assert origin.connections < 3


@pytest.mark.parametrize("is_cut", [False, True])
async def test_a_body_that_ends_with_its_connection_is_complete_only_if_tls_says_so(
    certificate: Path, *, is_cut: bool
) -> None:
    """Anybody between can end a TCP connection (RFC 9112 section 9.8). What is cut would be stored as a whole."""

    async def respond(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\npart")
        if is_cut:
            with socket.socket(fileno=os.dup(peer.writer.get_extra_info("socket").fileno())) as end:
                end.shutdown(socket.SHUT_WR)
            await peer.wait_closed()
        else:
            peer.close()

    backend = Backend(tls=ssl.create_default_context(cafile=str(certificate)))
    async with ScriptedOrigin(respond, tls=serving(certificate)) as origin:
        response = await send(backend, origin)
        if is_cut:
            with pytest.raises(BadGateway) as caught:
                await read(response)
            assert caught.value.reason == "connection closed during the response"
        else:
            assert await read(response) == b"part"
        await backend.close()


@pytest.mark.parametrize("host", ["crm.example.com", "crm.example.com."])
async def test_the_name_of_a_certificate_is_without_the_dot_of_an_absolute_name(certificate: Path, host: str) -> None:
    """And so is that of SNI (RFC 6066 section 3); Host is as in the target's URL."""
    named: list[str | None] = []
    tls = serving(certificate)
    tls.sni_callback = lambda _socket, name, _context: named.append(name)
    trusting = ssl.create_default_context(cafile=str(certificate))
    backend = Backend(tls=trusting, dialer=Dialer(NameTable(lookup=FakeResolver("127.0.0.1"))))
    async with ScriptedOrigin(OK, tls=tls) as origin:
        target = Target(f"https://{host}:{origin.port}")
        assert await read(await backend.send(target, call(), GENEROUS)) == b"ok"
        await backend.close()
    assert named == ["crm.example.com"]
    assert origin.requests[0].fields == [(b"host", f"{host}:{origin.port}".encode())]


async def test_an_untrusted_certificate_is_rejected(backend: Backend, certificate: Path) -> None:
    async with ScriptedOrigin(OK, tls=serving(certificate)) as origin:
        with pytest.raises(BadGateway):
            await fetch(backend, origin)
    assert origin.requests == []
