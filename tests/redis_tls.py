"""Certificates for Redis servers that speak TLS alone, made with openssl: of a private CA and of both sides."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.needs import skip_or_fail


@dataclass
class TlsFiles:
    """Of one directory. The server's certificate is for 127.0.0.1, and clients must have one too."""

    directory: Path

    def __post_init__(self) -> None:
        if shutil.which("redis-server") is None or shutil.which("openssl") is None:
            skip_or_fail("redis-server or openssl is not installed")
        self.directory.mkdir(exist_ok=True)
        subject = ["-subj", "/CN=Private CA", "-addext", "basicConstraints=critical,CA:TRUE"]
        self._openssl("req", "-x509", *self._new("ca"), *subject)
        for name, extra in (("server", ["-addext", "subjectAltName=IP:127.0.0.1"]), ("client", [])):
            issuer = ["-CA", self.path("ca.crt"), "-CAkey", self.path("ca.key")]
            constraints = ["-addext", "basicConstraints=CA:FALSE"]
            self._openssl("req", "-x509", *self._new(name), "-subj", f"/CN={name}", *constraints, *extra, *issuer)

    def path(self, name: str) -> str:
        return str(self.directory / name)

    @property
    def query(self) -> str:
        """The parameters of a REDIS_URL."""
        return urlencode(self._client)

    @property
    def arguments(self) -> dict[str, Any]:
        """Those of redis-py."""
        return {"ssl": True, **self._client}

    def command(self, port: int) -> list[str]:
        """A server of which every port speaks TLS, with its replicas, sentinels and cluster too."""
        return ["redis-server", "--port", "0", *self.options(port)]

    def options(self, port: int) -> list[str]:
        files = ["--tls-ca-cert-file", self.path("ca.crt"), "--tls-cert-file", self.path("server.crt")]
        files += ["--tls-key-file", self.path("server.key")]
        return ["--tls-port", str(port), *files, "--tls-replication", "yes", "--tls-cluster", "yes"]

    @property
    def _client(self) -> dict[str, str]:
        names = {"ssl_ca_certs": "ca.crt", "ssl_certfile": "client.crt", "ssl_keyfile": "client.key"}
        return {name: self.path(file) for name, file in names.items()}

    def _new(self, name: str) -> list[str]:
        kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        return [*kind, "-keyout", self.path(f"{name}.key"), "-out", self.path(f"{name}.crt")]

    def _openssl(self, *words: str) -> None:
        subprocess.run(["openssl", *words], check=True, capture_output=True)
