"""The gateway behind nginx and behind Caddy, each with its file of deploy/."""

import json
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from websockets.sync.client import connect
from websockets.sync.server import Server as SocketServer
from websockets.sync.server import ServerConnection, serve

from tests.deploy import proxies
from tests.deploy.proxies import INSIDE, Site
from tests.needs import skip_or_fail
from tests.origin import Peer
from tests.system.backend import Backend
from tests.system.server import Server, document

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("deploy proxies")]

OUTSIDE = "127.0.0.9"
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
MEGABYTE = 1024 * 1024


@dataclass
class Response:
    status: int
    version: str
    location: str
    body: str


async def first_of_two(peer: Peer) -> None:
    await peer.send(EVENTS + b"6\r\nfirst\n\r\n")
    await peer.wait_closed()


async def length(peer: Peer) -> None:
    body = await peer.read_body()
    text = json.dumps({"length": len(body)}).encode()
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))


@pytest.fixture(scope="module")
def sockets() -> Iterator[SocketServer]:
    """A backend that returns what a WebSocket sends."""

    def echo(connection: ServerConnection) -> None:
        for message in connection:
            connection.send(message)

    with serve(echo, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def backend() -> Iterator[Backend]:
    with Backend({"/first": first_of_two, "/length": length}) as backend:
        yield backend


@pytest.fixture(scope="module")
def gateway(backend: Backend, sockets: SocketServer) -> Iterator[Server]:
    port = sockets.socket.getsockname()[1]
    services = {
        "open": {"targets": backend.targets, "auth": "none", "cache": False},
        "sockets": {"targets": [{"url": f"http://127.0.0.1:{port}"}], "auth": "none", "websocket": True},
    }
    environment = {
        "TRUSTED_PROXIES": "127.0.0.1/32",
        "ALLOWED_HOSTS": "api.example.com",
        "STAFF_HOST": "staff.example.com",
    }
    server = Server(migrated=True, environment=environment)
    server.manage("config", "apply", "-", stdin=document(services))
    with server:
        yield server


@pytest.fixture(scope="module", params=["nginx", "caddy"])
def site(request: pytest.FixtureRequest, gateway: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp(request.param)
    with ExitStack() as stack:
        yield stack.enter_context(getattr(proxies, request.param)(directory, gateway.port))


def curl(site: Site, url: str, *options: str, address: str = OUTSIDE) -> Response:
    """`url` without a port. The client's address is of the loopback interface, and not the proxy's."""
    if shutil.which("curl") is None:
        skip_or_fail("curl is not installed")
    scheme, rest = url.split("://")
    host, _, path = rest.partition("/")
    port = site.https if scheme == "https" else site.http
    form = r"\n%{http_code} %{http_version} %{redirect_url}"
    command = ["curl", "-sk", "--max-time", "30", "--interface", address, "--resolve", f"{host}:{port}:127.0.0.1"]
    command += ["-w", form, *options, f"{scheme}://{host}:{port}/{path}"]
    output = subprocess.run(command, capture_output=True, check=False, text=True).stdout
    body, _, figures = output.rpartition("\n")
    status, version, location = [*figures.split(), ""][:3]
    return Response(int(status), version, location, body)


def test_backends_are_told_the_client_whatever_it_says_of_itself(site: Site, backend: Backend) -> None:
    forged = [
        "X-Forwarded-For: 192.0.2.1",
        "X-Forwarded-Host: evil.example",
        "X-Forwarded-Port: 8000",
        "Forwarded: for=192.0.2.2;host=evil.example",
    ]
    options = [part for field in forged for part in ("-H", field)]
    assert curl(site, f"https://api.example.com/api/v1/open/fields/{site.https}", *options).status == 200
    (received,) = [each for each in backend.requests if f"/fields/{site.https}".encode() in each.line]
    fields = {name.lower(): value.decode() for name, value in received.fields}
    assert fields[b"x-forwarded-for"] == OUTSIDE
    assert fields[b"x-forwarded-proto"] == "https"
    assert fields[b"x-forwarded-host"] == f"api.example.com:{site.https}"
    assert fields[b"x-forwarded-port"] == str(site.https)
    assert b"forwarded" not in fields


def test_http_leads_to_https(site: Site) -> None:
    answer = curl(site, "http://api.example.com/api/v1/open/x?y=z")
    assert answer.status in (301, 308)
    assert answer.location.startswith("https://api.example.com")
    assert answer.location.endswith("/api/v1/open/x?y=z")


def test_clients_get_http_2(site: Site) -> None:
    assert curl(site, "https://api.example.com/api/v1/open/x", "--http2").version == "2"


def test_staff_have_a_host_of_their_own_that_their_network_alone_reaches(site: Site) -> None:
    login = "admin/login/"
    assert curl(site, f"https://staff.example.com/{login}", address=INSIDE).status == 200
    assert curl(site, f"https://staff.example.com/{login}", address=OUTSIDE).status == 403
    assert curl(site, f"https://api.example.com/{login}", address=INSIDE).status == 404


def test_staff_log_in_over_https(site: Site, gateway: Server, tmp_path: Path) -> None:
    """The origin of the form is compared with the scheme and the host that the proxy passes on."""
    jar = ["-c", str(tmp_path / "jar"), "-b", str(tmp_path / "jar")]
    url = "https://staff.example.com/admin/login/"
    page = curl(site, url, *jar, address=INSIDE).body
    token = page.split('name="csrfmiddlewaretoken" value="')[1].split('"')[0]
    origin = f"https://staff.example.com:{site.https}"
    form = ["--data", f"csrfmiddlewaretoken={token}&username=a&password=b", "-H", f"Origin: {origin}"]
    answer = curl(site, url, *jar, *form, "-H", f"Referer: {origin}/admin/login/", address=INSIDE)
    assert answer.status == 200  # the form again: a wrong password, and no CSRF failure
    assert "csrfmiddlewaretoken" in answer.body


def test_uploads_pass_up_to_the_limit(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "body"
    options = ("-X", "POST", "-H", "Expect:", "--data-binary", f"@{file}")
    file.write_bytes(bytes(5 * MEGABYTE))
    assert json.loads(curl(site, "https://api.example.com/api/v1/open/length", *options).body) == {
        "length": 5 * MEGABYTE
    }
    file.write_bytes(bytes(12 * MEGABYTE))
    assert curl(site, "https://api.example.com/api/v1/open/length", *options).status == 413


def test_the_first_part_of_a_stream_arrives_before_the_next_is_sent(site: Site) -> None:
    url = f"https://api.example.com:{site.https}/api/v1/open/first"
    command = ["curl", "-skN", "--max-time", "30", "--resolve", f"api.example.com:{site.https}:127.0.0.1", url]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"first\n"
        process.terminate()


def test_websockets_pass(site: Site) -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    url = f"wss://api.example.com:{site.https}/api/v1/sockets/echo"
    with connect(url, ssl=context, address=("127.0.0.1", site.https), proxy=None) as connection:
        connection.send("there and back")
        assert connection.recv(timeout=30) == "there and back"
