"""Server-sent events behind an nginx that buffers responses, as it does by default."""

from pathlib import Path

import requests

from tests.nginx import nginx
from tests.origin import Peer
from tests.ports import free_port
from tests.system.conftest import Gateway

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_an_event_arrives_before_the_next_is_sent(single: Gateway, tmp_path: Path) -> None:
    async def one_event(peer: Peer) -> None:
        await peer.send(HEAD + b"b\r\ndata: one\n\n\r\n")
        await peer.wait_closed()  # there is no second event as long as somebody reads

    single.backend.scripts["/one-event"] = one_event
    port = free_port()
    with nginx(tmp_path, port, single.server.port, "proxy_set_header Host localhost;", buffering=""):
        url = f"https://localhost:{port}/api/v1/open/one-event"
        with requests.get(url, stream=True, timeout=20, verify=str(tmp_path / "certificate.pem")) as response:
            assert next(response.iter_content(11)) == b"data: one\n\n"
