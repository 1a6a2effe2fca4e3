"""Lists of revoked certificates: which are refused, and which files are none."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from routing.authentication.certificates.certificate import public_key
from routing.authentication.certificates.client_certificates import ClientCertificates
from routing.authentication.certificates.errors import InvalidCertificate
from routing.authentication.certificates.revocation import CertificateRevocations, RevocationList
from routing.authentication.certificates.source import parse_source
from routing.http import Request
from tests import certificates
from tests.certificates import DAY, NOW, Issued, revocations
from tests.clock import FakeClock

CA, OTHER_CA = certificates.authority(), certificates.authority("Other CA")
MIDDLE = certificates.authority("Middle", CA)
LEAF, REVOKED = certificates.client(CA, "web"), certificates.client(CA, "stolen")
BELOW = certificates.client(MIDDLE, "below")
NO_LIST = "there is no revocation list of the client certificate's authority"
GONE = "the client certificate was revoked"
ENDED = "the revocation list of the client certificate's authority has expired"


SOURCE = parse_source("pem X-Cert")


def forwarded(*chain: Issued) -> Request:
    request = Request("GET", b"/", b"", [(b"x-cert", "".join(each.escaped for each in chain).encode())], "192.0.2.1")
    request.via_proxy = True
    return request


class World:
    def __init__(self, lists: bytes) -> None:
        self.clock, self.revocations = FakeClock(NOW.timestamp()), CertificateRevocations()
        self.revocations.use(lists)
        source = msgspec.structs.replace(SOURCE, roots=(CA.pem + OTHER_CA.pem).encode())
        self.certificates = ClientCertificates(source, self.clock, self.revocations)

    def refusal(self, *chain: Issued) -> str:
        """Empty for a certificate that is accepted."""
        try:
            return "" if self.certificates.find(forwarded(*chain)) else "none"
        except InvalidCertificate as error:
            return error.detail


@pytest.mark.parametrize(
    ("lists", "chain", "expected"),
    [
        ([revocations(CA)], [LEAF], ""),
        ([revocations(CA, REVOKED)], [LEAF], ""),
        ([revocations(CA, REVOKED)], [REVOKED], GONE),
        ([revocations(CA), revocations(CA, REVOKED)], [REVOKED], GONE),
        ([revocations(CA, REVOKED, ends=NOW - DAY / 2)], [REVOKED], GONE),
        ([revocations(CA, ends=NOW - DAY / 2)], [LEAF], ENDED),
        ([revocations(CA, ends=NOW - DAY / 2), revocations(CA)], [LEAF], ""),
        ([revocations(OTHER_CA, LEAF)], [LEAF], NO_LIST),
        ([revocations(CA, signer=OTHER_CA)], [LEAF], NO_LIST),
        ([revocations(CA), revocations(MIDDLE)], [BELOW, MIDDLE], ""),
        ([revocations(CA), revocations(MIDDLE, BELOW)], [BELOW, MIDDLE], GONE),
        ([revocations(CA, MIDDLE), revocations(MIDDLE)], [BELOW, MIDDLE], GONE),
        ([revocations(CA)], [BELOW, MIDDLE], NO_LIST),
        ([revocations(MIDDLE)], [BELOW, MIDDLE], NO_LIST),
    ],
)
def test_which_certificates_are_refused(lists: Sequence[bytes], chain: Sequence[Issued], expected: str) -> None:
    assert World(b"".join(lists)).refusal(*chain) == expected


def test_one_list_in_der() -> None:
    der = x509.load_pem_x509_crl(revocations(CA, REVOKED)).public_bytes(Encoding.DER)
    assert [World(der).refusal(each) for each in (LEAF, REVOKED)] == ["", GONE]


def test_a_new_list_holds_at_once_and_one_that_cannot_be_read_changes_nothing() -> None:
    world = World(revocations(CA))
    assert world.refusal(LEAF) == ""
    world.revocations.use(revocations(CA, LEAF))
    assert world.refusal(LEAF) == GONE
    with pytest.raises(ValueError, match="no list of revoked certificates in PEM or DER"):
        world.revocations.use(b"<html>")
    assert world.refusal(LEAF) == GONE
    world.revocations.use(revocations(CA))
    assert world.refusal(LEAF) == ""


def test_a_list_that_ends_is_noticed() -> None:
    world = World(revocations(CA, ends=NOW + DAY))
    assert world.refusal(LEAF) == ""
    world.clock.now = (NOW + 2 * DAY).timestamp()
    assert world.refusal(LEAF) == ENDED


class Counted:
    """A list that counts how often it is searched and its signature is verified."""

    next_update_utc = None

    def __init__(self, content: x509.CertificateRevocationList) -> None:
        self._content = content
        self.searched = self.verified = 0

    def __iter__(self) -> Iterator[x509.RevokedCertificate]:
        self.searched += 1
        return iter(self._content)

    def is_signature_valid(self, key: Any) -> bool:
        self.verified += 1
        return self._content.is_signature_valid(key)


def test_long_lists_are_neither_searched_nor_verified_for_each_request() -> None:
    """Each open WebSocket asks once a second: a search of 100,000 entries takes some milliseconds."""
    counted: Any = Counted(x509.load_pem_x509_crl(revocations(CA, REVOKED)))
    found = RevocationList(counted)
    for _ in range(10):
        assert [found.contains(each.certificate.serial_number) for each in (LEAF, REVOKED)] == [False, True]
        assert [found.is_signed_by(public_key(each.certificate)) for each in (CA, OTHER_CA)] == [True, False]
    assert (counted.searched, counted.verified) == (1, 2)


def test_open_connections_are_told_from_those_of_another_authority_of_the_same_name() -> None:
    """As after the replacement of an authority's key: its serial numbers may begin anew."""
    old, new = certificates.authority(), certificates.authority()
    stolen, other = certificates.client(old, serial=5), certificates.client(new, serial=5)
    roots = (old.pem + new.pem).encode()
    found = CertificateRevocations()
    found.use(revocations(old) + revocations(new))
    reader = ClientCertificates(msgspec.structs.replace(SOURCE, roots=roots), FakeClock(NOW.timestamp()), found)
    open_ones = [reader.find(forwarded(each)) for each in (stolen, other)]
    found.use(revocations(old, stolen) + revocations(new))
    assert [found.names(each) for each in open_ones if each is not None] == [True, False]
    assert reader.find(forwarded(other)) is not None
    with pytest.raises(InvalidCertificate):
        reader.find(forwarded(stolen))


@pytest.mark.parametrize(
    ("extension", "is_read"),
    [
        (x509.DeltaCRLIndicator(1), False),
        (x509.IssuingDistributionPoint(None, None, False, False, None, True, False), False),
        (x509.IssuingDistributionPoint(None, None, False, True, None, False, False), False),
        (x509.IssuingDistributionPoint(None, None, True, False, None, False, False), True),
    ],
)
def test_lists_that_say_only_a_part(extension: x509.ExtensionType, is_read: bool) -> None:
    content = revocations(CA, REVOKED, critical=extension)
    if is_read:
        assert World(content).refusal(REVOKED) == GONE
    else:
        with pytest.raises(ValueError, match="is not supported"):
            World(content)
