"""Why a client's certificate is not accepted."""

from typing import Final

from routing.errors import Unauthenticated
from routing.http import Headers

_CHALLENGE: Final = b'Certificate realm="gateway"'


class InvalidCertificate(Unauthenticated):
    """No certificate where one is required, or one that is not accepted."""

    def headers(self) -> Headers:
        detail = self.detail.encode("ascii", "replace").translate(None, b'"\\')
        field = b'%b, error="invalid_certificate", error_description="%b"' % (_CHALLENGE, detail)
        return [(b"www-authenticate", field), *super(Unauthenticated, self).headers()]


def missing_certificate() -> InvalidCertificate:
    return InvalidCertificate("a client certificate is required")
