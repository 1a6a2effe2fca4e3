"""An issuer's metadata (OpenID Connect Discovery 1.0, RFC 8414) and its key set, fetched over HTTP.

Blocks; called in a thread. Every failure is a KeyFetchFailed.
"""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from routing.authentication import jwks
from routing.authentication.issuer_policy import Issuer, check_url, other_slash
from routing.authentication.key_endpoint import DEFAULT_SECONDS, Fetched, KeyFetchFailed, freshness, get
from routing.authentication.token_parts import parse_object

MIN_FRESH_SECONDS: Final = 10.0
"""How long a key set is kept at least, whatever its response says."""
REDISCOVER_SECONDS: Final = 3_600.0
"""How long the address of an issuer's key set is kept."""
Get = Callable[[str, int], Fetched]


class KeyDocument(NamedTuple):
    """A fetched key set, how long it is fresh, and where it is from."""

    body: bytes
    seconds: float
    jwks_uri: str


class KeySetClient:
    """Fetches one issuer's key set. `clock` is monotonic or Unix seconds."""

    def __init__(self, issuer: Issuer, clock: Callable[[], float], fetch: Get = get) -> None:
        self._issuer = issuer
        self._clock = clock
        self._get = fetch
        self._found: tuple[str, float] | None = None

    def fetch(self) -> KeyDocument:
        """Raises KeyFetchFailed."""
        address = self._issuer.jwks_uri or self._known_address() or self._discover()
        try:
            response = self._get(address, jwks.MAX_BYTES)
        except KeyFetchFailed:
            self._found = None  # the address may have changed
            raise
        return KeyDocument(response.body, _seconds(response.headers), address)

    def _known_address(self) -> str | None:
        if self._found is None or not 0 <= self._clock() - self._found[1] < REDISCOVER_SECONDS:
            return None
        return self._found[0]

    def _discover(self) -> str:
        """The address of the key set, from the first of the well-known paths that has a document of the issuer: pages
        of applications answer to each path. Of several failures, that of a document says more than a missing one.
        """
        failure, is_of_document = KeyFetchFailed("discovery: no metadata"), False
        for url in metadata_urls(self._issuer.issuer):
            try:
                body = self._get(url, jwks.MAX_BYTES).body
            except KeyFetchFailed as error:
                failure = failure if is_of_document else KeyFetchFailed(f"discovery: {error}")
                continue
            try:
                address = read_metadata(body, self._issuer.issuer)
            except KeyFetchFailed as error:
                failure, is_of_document = (failure if is_of_document else error), True
                continue
            self._found = address, self._clock()
            return address
        raise failure


def metadata_urls(issuer: str) -> tuple[str, ...]:
    """Where an issuer's metadata may be: OpenID Connect appends the path, RFC 8414 (section 3.1) inserts it."""
    parts = urlsplit(issuer)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    urls = (
        f"{origin}{path}/.well-known/openid-configuration",
        f"{origin}/.well-known/oauth-authorization-server{path}",
        f"{origin}/.well-known/openid-configuration{path}",
    )
    return tuple(dict.fromkeys(urls))


def read_metadata(body: bytes, issuer: str) -> str:
    """The `jwks_uri` of a metadata document. Raises KeyFetchFailed, also if the document is another issuer's."""
    try:
        metadata = parse_object(body)
    except ValueError:
        raise KeyFetchFailed("discovery: not a JSON object") from None
    if metadata.get("issuer") != issuer:
        slash = metadata.get("issuer") == other_slash(issuer)
        hint = ", which differs from the configured one in the slash at its end" if slash else ""
        raise KeyFetchFailed(f"discovery: the document is of another issuer{hint}")
    address = metadata.get("jwks_uri")
    try:
        check_url(address if isinstance(address, str) else "", "jwks_uri")
    except ValueError as error:
        raise KeyFetchFailed(f"discovery: {error}") from None
    if str(address).startswith("http://") and not issuer.startswith("http://"):
        raise KeyFetchFailed("discovery: jwks_uri is not https")
    return str(address)


def _seconds(headers: Mapping[str, str]) -> float:
    """How long a key set is fresh. Several providers forbid caching it, which would mean a fetch for every request."""
    control = headers.get("cache-control", "").lower()
    if "no-store" in control or "no-cache" in control:
        return DEFAULT_SECONDS
    return max(freshness(headers), MIN_FRESH_SECONDS)
