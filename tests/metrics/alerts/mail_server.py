"""A mail server that keeps what it receives."""

import socketserver
import threading
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any, Self


class MailServer:
    """`answer` is its response to a mail, if that is not 250. It knows no extension, STARTTLS included."""

    def __init__(self, port: int = 0) -> None:
        self.mails: list[EmailMessage] = []
        self.recipients: list[str] = []
        self.answer = b""
        keeper = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                keeper._serve(self.rfile, self.wfile)

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True

        self._server = Server(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _serve(self, lines: Any, output: Any) -> None:
        output.write(b"220 test\r\n")
        while line := lines.readline():
            word = line[:4].upper()
            if word == b"DATA":
                output.write(b"354 go\r\n")
                self._take(lines)
                output.write((self.answer or b"250 taken") + b"\r\n")
            elif word == b"RCPT":
                self.recipients.append(line.decode())
                output.write((self.answer or b"250 yes") + b"\r\n")
            elif word == b"QUIT":
                output.write(b"221 bye\r\n")
                return
            else:
                output.write(b"250 test\r\n")

    def _take(self, lines: Any) -> None:
        content = b""
        while (line := lines.readline()) not in (b".\r\n", b""):
            content += line
        message = message_from_bytes(content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        self.mails.append(message)
