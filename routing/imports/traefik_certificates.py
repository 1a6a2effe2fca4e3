"""Traefik's TLS options, of which one matters here: whether clients need a certificate."""

from typing import Any, Final

from routing.imports.report import Section

OPTIONAL: Final = ("NoClientCert", "RequestClientCert", "VerifyClientCertIfGiven")
DEFAULT: Final = "default"


class ClientCertificates:
    """Which of the file's TLS options require a certificate of clients."""

    def __init__(self, tls: Section) -> None:
        found = tls.take("options", {})
        self._options: dict[str, Any] = found if isinstance(found, dict) else {}
        if tls.names or self._options:
            tls.report.left_out(tls.path, "TLS ends in a proxy ahead of the gateway")

    def are_required(self, router: Section) -> bool:
        """Whether a router's clients need one, with a note. Options that are not in the file may require it."""
        tls = router.take("tls")
        if not tls:
            return False
        named = tls.get("options") if isinstance(tls, dict) else None
        name = str(named or DEFAULT).removesuffix("@file")
        is_known = name in self._options
        is_required = _requires(self._options[name]) if is_known else name != DEFAULT
        if is_required:
            text = (
                f"the TLS options {name[:80]} may require a client certificate: callers need a key or a token instead"
            )
            router.report.left_out((*router.path, "tls"), text)
        return is_required


def _requires(options: Any) -> bool:
    found = options.get("clientAuth") if isinstance(options, dict) else None
    return bool(found) and not (isinstance(found, dict) and found.get("clientAuthType") in (*OPTIONAL, None))
