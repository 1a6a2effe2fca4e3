"""nginx as a proxy ahead of the gateway, with TLS by a certificate made for the test."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.needs import skip_or_fail

CONFIGURATION = """
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
{user}
events {{}}
http {{
  access_log off;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  map $http_upgrade $connection_upgrade {{ default upgrade; "" close; }}
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {directory}/certificate.pem;
    ssl_certificate_key {directory}/key.pem;
    {server}
    location / {{
      proxy_pass http://127.0.0.1:{upstream};
      proxy_http_version 1.1;
      {buffering}
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      {fields}
    }}
  }}
}}
"""


@contextmanager
def nginx(
    directory: Path, port: int, upstream: int, fields: str, buffering: str = "proxy_buffering off;", *, server: str = ""
) -> Iterator[None]:
    """Serve https on `port` for the gateway on `upstream`. `fields` are directives that set header fields; an empty
    `buffering` leaves nginx's default, which is on. `server` are further directives of the server.
    """
    if shutil.which("nginx") is None or shutil.which("openssl") is None:
        skip_or_fail("nginx or openssl is not installed")
    make_certificate(directory)
    # Started by root, nginx would change to a user who cannot read the test's files.
    user = "user root;" if os.geteuid() == 0 else ""
    values = {"port": port, "upstream": upstream, "fields": fields, "buffering": buffering, "server": server}
    text = CONFIGURATION.format(directory=directory, user=user, **values)
    (directory / "nginx.conf").write_text(text)
    process = subprocess.Popen(["nginx", "-e", "stderr", "-p", str(directory), "-c", str(directory / "nginx.conf")])
    try:
        wait_until_open(port, process)
        yield
    finally:
        process.terminate()
        process.wait(10)


def make_certificate(directory: Path) -> None:
    key, certificate = directory / "key.pem", directory / "certificate.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command.split(), *names, *files], check=True, capture_output=True)


def wait_until_open(port: int, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(200):
        assert process.poll() is None, "nginx ended"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("nginx does not listen")
