"""Why a call to a backend failed: short texts for logs and for callers who debug, without addresses or secrets."""

import errno
import os
import re
import socket
import ssl
from typing import Final

REFUSED: Final = "connection refused"
RESET: Final = "connection reset"
NO_SUCH_NAME: Final = "no such name"
CONNECT_TIMEOUT: Final = "connect timeout"
LOOKUP_TIMEOUT: Final = "name resolution timeout"
READ_TIMEOUT: Final = "read timeout"
IDLE_TIMEOUT: Final = "idle timeout"
WRITE_TIMEOUT: Final = "write timeout"
TOTAL_TIMEOUT: Final = "total timeout"
CLOSED_BEFORE_RESPONSE: Final = "connection closed before the response"
CLOSED_DURING_RESPONSE: Final = "connection closed during the response"

OWN_LIMITS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""Errors of a new connection that say nothing about the target."""

_CERTIFICATE: Final = {
    9: "not yet valid",
    10: "expired",
    18: "self-signed",
    19: "self-signed root that is not trusted",
    20: "unknown issuer",
    21: "incomplete chain",
    23: "revoked",
    62: "hostname mismatch",
    64: "IP address mismatch",
}
"""Faults of certificates by OpenSSL's X509_V_ERR codes."""
_CLIENT_CERTIFICATE: Final = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "required",
    "SSLV3_ALERT_BAD_CERTIFICATE": "required, or not accepted",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "of a kind that is not supported",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "revoked",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "expired",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "not accepted",
    "TLSV1_ALERT_UNKNOWN_CA": "unknown issuer",
    "TLSV1_ALERT_ACCESS_DENIED": "access denied",
}
"""What the target says of the gateway's certificate, by OpenSSL's reason for its alert (RFC 8446 section 6.2)."""
_HANDSHAKE: Final = {
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "handshake failure: no cipher in common, or a client certificate is required",
    "TLSV1_UNRECOGNIZED_NAME": "the target does not know the server name",
    "TLSV1_ALERT_PROTOCOL_VERSION": "no TLS version in common",
    "UNSUPPORTED_PROTOCOL": "no TLS version in common",
    "TLSV1_ALERT_NO_APPLICATION_PROTOCOL": "the target does not speak HTTP/1.1",
    "WRONG_VERSION_NUMBER": "the target does not speak TLS",
}
_NO_NAME: Final = frozenset(
    getattr(socket, name) for name in ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY") if hasattr(socket, name)
)
_END_OF_HEAD: Final = b"\r\n\r\n"
_BARE_LF: Final = re.compile(rb"[^\r]\n")
_DETAIL: Final = re.compile("[:;]")
_NETWORK: Final = {
    errno.ECONNREFUSED: REFUSED,
    errno.ECONNRESET: RESET,
    errno.EPIPE: RESET,
    errno.EHOSTUNREACH: "host unreachable",
    errno.ENETUNREACH: "network unreachable",
    errno.ETIMEDOUT: CONNECT_TIMEOUT,
    errno.EMFILE: "the gateway has too many open files",
    errno.ENFILE: "the gateway's machine has too many open files",
    errno.EADDRNOTAVAIL: "the gateway has no free local port",
}


def failure_reason(error: Exception) -> str:
    """Why a connection could not be opened, or was lost."""
    if isinstance(error, ssl.SSLError):
        return _tls_reason(error)
    if isinstance(error, UnicodeError) or (isinstance(error, socket.gaierror) and error.errno in _NO_NAME):
        return NO_SUCH_NAME
    if isinstance(error, socket.gaierror):
        return f"name resolution failed: {error.strerror}"
    number = error.errno if isinstance(error, OSError) else None
    if number is None:
        return RESET if isinstance(error, ConnectionError) else "connection failed"
    return _NETWORK.get(number) or os.strerror(number).lower()


def loss_reason(error: Exception | None, *, has_started: bool) -> str:
    """Why a connection was lost during a call. `has_started`: a part of the response was received."""
    if error is None:
        return CLOSED_DURING_RESPONSE if has_started else CLOSED_BEFORE_RESPONSE
    reason = failure_reason(error)
    return reason if refuses_client(error) else f"{reason} {'during' if has_started else 'before'} the response"


def refuses_client(error: BaseException | None) -> bool:
    """Whether the target ended the handshake for want of a client certificate that it accepts. With TLS 1.3 this is
    known only when the request has been sent, which the target has then not read.
    """
    return isinstance(error, ssl.SSLError) and error.reason in _CLIENT_CERTIFICATE


def line_end_fault(text: str, data: bytes) -> str:
    """What is wrong with the end of a line, by llhttp's error; empty if it is another error. `data` is what was being
    parsed: llhttp does not say of the empty line after the fields that its CR is missing.
    """
    head = data[: data.find(_END_OF_HEAD)] if _END_OF_HEAD in data else data
    if "expected CR" in text or (text == "Invalid header field char" and _BARE_LF.search(head)):
        return "a line ends with LF without CR (RFC 9112 section 2.2)"
    if text.lower().startswith(("expected lf", "missing expected lf")):
        return "a line has CR without LF (RFC 9112 section 2.2)"
    return ""


def innermost(error: BaseException) -> str:
    """The first words of the error that caused this one: what follows may be what the backend has sent."""
    while error.__cause__ is not None:
        error = error.__cause__
    return _DETAIL.split(str(error), maxsplit=1)[0]


def _tls_reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate: {_CERTIFICATE.get(error.verify_code) or error.verify_message or 'not valid'}"
    reason = error.reason or "handshake failed"
    if reason in _CLIENT_CERTIFICATE:
        return f"client certificate: {_CLIENT_CERTIFICATE[reason]}"
    return f"TLS error: {_HANDSHAKE.get(reason) or reason.lower().replace('_', ' ')}"
