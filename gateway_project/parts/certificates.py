"""The lists of revoked client certificates, if the environment names a file of them."""

from gateway_project.config import Config
from resilience.watched_file import WatchedFile
from routing.authentication.certificates.revocation import CertificateRevocations


def open_revocations(config: Config, revocations: CertificateRevocations) -> WatchedFile | None:
    """The file, which has been read: no certificate may be accepted without it. Raises ValueError."""
    if config.client_crl is None:
        return None
    file = WatchedFile(config.client_crl, revocations.use, "the list of revoked certificates")
    file.load()
    return file
