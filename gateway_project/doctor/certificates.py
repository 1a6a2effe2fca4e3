"""The lists of revoked client certificates."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from gateway_project.config import Config
from gateway_project.doctor.finding import Finding, error, ok, warning
from routing.authentication.certificates.revocation import RevocationLists

CHECK: Final = "revoked certificates"
SOON: Final = timedelta(days=1)


def check_revocations(config: Config) -> Iterator[Finding]:
    """Nothing without CLIENT_CRL."""
    path = config.client_crl
    if path is None:
        return
    advice = "fetch the next list before this one expires: after that, all certificates of its authority are refused"
    try:
        ends = RevocationLists(path.read_bytes()).ends
    except (OSError, ValueError) as fault:
        yield error(CHECK, f"{path}: {getattr(fault, 'strerror', None) or fault}", "fetch the list again")
        return
    if ends is None:
        yield ok(CHECK, f"{path}, which does not end")
    elif ends <= datetime.now(UTC):
        yield error(CHECK, f"a list in {path} has ended at {ends:%Y-%m-%d %H:%M} UTC", advice)
    elif ends <= datetime.now(UTC) + SOON:
        yield warning(CHECK, f"a list in {path} ends at {ends:%Y-%m-%d %H:%M} UTC", advice)
    else:
        yield ok(CHECK, f"{path}, until {ends:%Y-%m-%d %H:%M} UTC")
