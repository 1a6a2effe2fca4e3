"""nginx and Caddy, run with the files of deploy/ on ports and with certificates of the test."""

import os
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.needs import skip_or_fail
from tests.nginx import make_certificate, wait_until_open
from tests.ports import free_port
from tests.processes import eventually
from tests.system.server import ROOT

HOSTS: Final = ("api.example.com", "staff.example.com")
DEPLOY: Final = ROOT / "deploy"
INSIDE: Final = "127.0.0.2"
"""The address of a client whom the sites let in to staff's pages, as the tests change them."""
NGINX: Final = """
daemon off;
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
  include {directory}/site.conf;
}}
"""
CADDY: Final = """{{
	admin off
	local_certs
	skip_install_trust
	http_port {http}
	https_port {https}
	storage file_system {directory}/storage
}}
"""


@dataclass(frozen=True)
class Site:
    """A proxy that serves the sites at these ports of the loopback interface."""

    http: int
    https: int


def replaced(text: str, *changes: tuple[str, str]) -> str:
    """`text` with all that matches each pattern replaced; each must match."""
    for pattern, replacement in changes:
        text, count = re.subn(pattern, replacement, text)
        assert count, pattern
    return text


@contextmanager
def nginx(directory: Path, gateway: int) -> Iterator[Site]:
    if shutil.which("nginx") is None or shutil.which("openssl") is None:
        skip_or_fail("nginx or openssl is not installed")
    site = Site(free_port(), free_port())
    make_certificate(directory)
    snippet = directory / "snippet.conf"
    snippet.write_text((DEPLOY / "nginx" / "snippet.conf").read_text())
    text = replaced(
        (DEPLOY / "nginx" / "intelligence-gateway.conf").read_text(),
        (r"    listen \[::\].*\n", ""),
        (r"listen 443", f"listen 127.0.0.1:{site.https}"),
        (r"listen 80;", f"listen 127.0.0.1:{site.http};"),
        (r"127\.0\.0\.1:8000", f"127.0.0.1:{gateway}"),
        (r"/etc/letsencrypt/\S+fullchain.pem", f"{directory}/certificate.pem"),
        (r"/etc/letsencrypt/\S+privkey.pem", f"{directory}/key.pem"),
        (r"/etc/nginx/snippets/intelligence-gateway.conf", str(snippet)),
        (r"allow 127\.0\.0\.0/8", f"allow {INSIDE}"),
    )
    (directory / "site.conf").write_text(text)
    # Started by root, nginx would change to a user who cannot read the test's files.
    user = "user root;" if os.geteuid() == 0 else ""
    configuration = directory / "nginx.conf"
    configuration.write_text(NGINX.format(directory=directory, user=user))
    with _running(["nginx", "-e", "stderr", "-p", str(directory), "-c", str(configuration)], directory, site):
        yield site


@contextmanager
def caddy(directory: Path, gateway: int) -> Iterator[Site]:
    if shutil.which("caddy") is None:
        skip_or_fail("caddy is not installed")
    site = Site(free_port(), free_port())
    text = replaced(
        (DEPLOY / "caddy" / "Caddyfile").read_text(),
        (r"127\.0\.0\.1:8000", f"127.0.0.1:{gateway}"),
        (r"private_ranges", INSIDE),
    )
    options = CADDY.format(http=site.http, https=site.https, directory=directory)
    configuration = directory / "Caddyfile"
    configuration.write_text(options + text)
    with _running(["caddy", "run", "--config", str(configuration), "--adapter", "caddyfile"], directory, site):
        # It listens before its own authority has signed the certificates.
        assert eventually(lambda: all(_shakes_hands(site.https, host) for host in HOSTS), 30)
        yield site


def _shakes_hands(port: int, host: str) -> bool:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as plain:
            context.wrap_socket(plain, server_hostname=host).close()
    except OSError:
        return False
    return True


@contextmanager
def _running(command: list[str], directory: Path, site: Site) -> Iterator[None]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(directory)}
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            wait_until_open(site.https, process)
            yield
        finally:
            process.terminate()
            process.wait(20)
