"""A server that keeps what is posted to it, for webhooks."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from typing import NamedTuple, Self

SECONDS = 30.0


class Delivery(NamedTuple):
    fields: dict[str, str]
    body: bytes


class Receiver:
    """Answers with the next of `statuses`, else 200. `next` waits for a delivery."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        deliveries: Queue[Delivery] = Queue()
        statuses = self.statuses

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                deliveries.put(Delivery({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(statuses.pop(0) if statuses else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._deliveries = deliveries
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook"

    def next(self) -> Delivery:
        return self._deliveries.get(timeout=SECONDS)

    @property
    def empty(self) -> bool:
        return self._deliveries.empty()

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
