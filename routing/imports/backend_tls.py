"""How other gateways verify backends, and show them a certificate: Kong's certificates, Traefik's transports."""

from typing import Any, Final

from routing.configuration.faults import Path
from routing.imports.report import Report, Section
from routing.tls.pem import certificates_fault

Tls = dict[str, Any]
VERIFIED: Final = "certificates of backends are always verified: set tls.ca for authorities of your own"
_PLACE: Final = "the file must be in /run/secrets, or in a directory that SECRETS_FROM lists"
_ONE_FILE: Final = "several files: put their certificates into one, and set tls.ca: file:/PATH"


class KongCertificates:
    """`certificates` and `ca_certificates` of a file, which services refer to by their ids."""

    def __init__(self, top: Section) -> None:
        self._own = top.items("certificates")
        self._authorities = top.items("ca_certificates")
        self._used: set[Path] = set()

    def read(self, service: Section) -> Tls:
        """The settings of a service or an upstream; what cannot be read is reported."""
        tls: Tls = {}
        authorities = service.texts("ca_certificates")
        found = [self._authority(service, each) for each in authorities]
        if found and all(found):
            tls["ca"] = "\n".join(map(str, found)) + "\n"
        tls |= self._client(service)
        if service.take("tls_verify") is False:
            service.report.changed((*service.path, "tls_verify"), VERIFIED)
        service.default("tls_verify_depth", 1)
        return tls

    def finish(self, report: Report) -> None:
        for items, text in (
            (self._own, "TLS ends in a proxy ahead of the gateway"),
            (self._authorities, "set CLIENT_CA for client certificates"),
        ):
            for item in items:
                if item.path in self._used:
                    item.without_effect("id", "tags", "created_at", "updated_at", "cert", "cert_digest", "key", "snis")
                    item.finish()
                else:
                    report.left_out(item.path, text)

    def _authority(self, service: Section, name: str) -> str:
        item = _of_id(self._authorities, name)
        if item is None:
            service.report.left_out((*service.path, "ca_certificates"), "an authority is not in this file: set tls.ca")
            return ""
        self._used.add(item.path)
        text = item.peek("cert").strip()
        if certificates_fault(text):
            service.report.left_out((*item.path, "cert"), "is no certificate in PEM: set tls.ca of the service")
            return ""
        return text

    def _client(self, service: Section) -> Tls:
        found = service.take("client_certificate")
        if found is None:
            return {}
        item = _of_id(self._own, str(found.get("id") if isinstance(found, dict) else found))
        path = (*service.path, "client_certificate")
        if item is None or not item.peek("cert") or not item.peek("key"):
            service.report.left_out(path, "is not in this file: set tls.certificate and tls.key of the service")
            return {}
        self._used.add(item.path)
        cert, name = item.peek("cert").strip(), f"{service.report.subject}_tls"
        if certificates_fault(cert):
            cert = service.report.secret((*item.path, "cert"), cert, f"{name}_certificate")
        else:
            cert += "\n"
        key = service.report.secret((*item.path, "key"), item.peek("key").strip(), f"{name}_key")
        return {"certificate": cert, "key": key}


def _of_id(items: list[Section], name: str) -> Section | None:
    return next((item for item in items if name and item.peek("id") == name), None)


class TraefikTransports:
    """`serversTransports` of a file, which its services name."""

    def __init__(self, http: Section) -> None:
        self._items = http.named("serversTransports")
        self._read: dict[str, Tls] = {}

    def settings(self, balancer: Section, urls: list[str]) -> dict[str, Tls]:
        """The `tls` of a service with these targets, if it names a transport and uses TLS."""
        name = balancer.text("serversTransport").removesuffix("@file")
        if not name:
            return {}
        if name not in self._items:
            balancer.report.left_out(
                (*balancer.path, "serversTransport"), "is not in this file: set tls of the service"
            )
            return {}
        if name not in self._read:
            self._read[name] = _transport(self._items[name])
        has_tls = self._read[name] and any(url.startswith("https:") for url in urls)
        return {"tls": dict(self._read[name])} if has_tls else {}

    def finish(self, report: Report) -> None:
        for name, item in self._items.items():
            if name not in self._read:
                report.left_out(item.path, "no service has this transport")


def _transport(item: Section) -> Tls:
    tls: Tls = {}
    if name := item.text("serverName"):
        tls["server_name"] = name
    if item.take("insecureSkipVerify"):
        item.report.changed((*item.path, "insecureSkipVerify"), VERIFIED)
    authorities = item.texts("rootCAs")
    if authorities and (ca := _authorities(authorities, (*item.path, "rootCAs"), item.report)):
        tls["ca"] = ca
    pairs = item.items("certificates")
    if len(pairs) == 1:
        pair = {key: pairs[0].text(name) for key, name in (("certificate", "certFile"), ("key", "keyFile"))}
        files = {key: _file(value, (*pairs[0].path, key), item.report) for key, value in pair.items()}
        if all(files.values()):
            tls |= files
        pairs[0].finish()
    elif pairs:
        item.report.left_out((*item.path, "certificates"), "a service has one certificate: set it in tls")
    item.without_effect("maxIdleConnsPerHost", "disableHTTP2", "forwardingTimeouts")
    item.finish()
    return tls


def _authorities(values: list[str], path: Path, report: Report) -> str | None:
    if len(values) == 1 and not values[0].lstrip().startswith("-----BEGIN"):
        return _file(values[0], path, report)
    if any(certificates_fault(value) for value in values):
        report.left_out(path, _ONE_FILE)
        return None
    return "\n".join(value.strip() for value in values) + "\n"


def _file(value: str, path: Path, report: Report) -> str | None:
    """A reference to a file of that path."""
    if not value.startswith("/") or any(part in (".", "..") for part in value.split("/")):
        report.left_out(path, "is not the absolute path of a file: set it in tls of the service")
        return None
    report.changed(path, _PLACE)
    return f"file:{value}"
