"""Calls to the identity provider (OpenID Connect Core and Discovery), bounded in time, size and number.

All of them block, in one of Django's threads.
"""

import contextlib
import re
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from concurrent.futures import TimeoutError as WaitTimeout
from contextlib import AbstractContextManager
from typing import Any, Final, TypeVar
from urllib.parse import quote_plus, urlencode, urlsplit

from metrics.sign_in import claims as id_token
from metrics.sign_in import logout_token
from metrics.sign_in.logout_token import LogoutRequest
from metrics.sign_in.policy import Provider
from metrics.sign_in.provider_metadata import Metadata, read_provider_metadata
from routing.authentication import jwks
from routing.authentication.discovery import MIN_FRESH_SECONDS, metadata_urls
from routing.authentication.issuer_policy import Issuer
from routing.authentication.issuer_token import check_header
from routing.authentication.issuers import check_signature
from routing.authentication.key_endpoint import Cause, FetchedKeys, KeyFetchFailed, freshness, get, send
from routing.authentication.signing_keys import SigningKeys, Wait
from routing.authentication.token_parts import parse, parse_object
from routing.errors import InvalidToken

METADATA_SECONDS: Final = 3_600.0
KEEP_SECONDS: Final = 24 * 3_600.0
"""How long metadata and keys are used while the provider is unavailable."""
RETRY_SECONDS: Final = 5.0
"""The time between two fetches of metadata while they fail."""
EXTRA_SECONDS: Final = 5.0
"""How much longer than a fetch of keys a call to the token endpoint may take."""
MAX_CALLS: Final = 8
"""The most calls in progress in one worker: a slow provider must not hold all of Django's threads."""
MAX_BYTES: Final = 256 * 1024
_ERROR: Final = re.compile(r"[a-z_]{1,40}")
T = TypeVar("T")
_OK: Final = 200


class ProviderUnavailable(Exception):
    """The provider cannot be used now. The text is for the log."""


class ProviderRefused(Exception):
    """The provider has refused a request, or its response is malformed. The text is for the log and the page."""


class ProviderClient:
    """One provider. `secret` is the client's, read again for each use. `clock` is Unix time.

    `waiting` is entered while a thread waits for the provider.
    """

    def __init__(
        self,
        provider: Provider,
        secret: Callable[[], str],
        waiting: Callable[[], AbstractContextManager[None]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.provider = provider
        self._secret = secret
        self._waiting = waiting
        self._clock = clock
        self._calls = threading.BoundedSemaphore(MAX_CALLS)
        self._fetching = threading.Lock()
        self._metadata: tuple[Metadata, float] | None = None
        self._failed_at = -RETRY_SECONDS
        self._keys = SigningKeys(self._fetch_keys, clock, lambda _removed: None, whose="the identity provider of staff")

    def metadata(self) -> Metadata:
        """The provider's addresses. Raises ProviderUnavailable."""
        now = self._clock()
        found = self._metadata
        if found is not None and 0 <= now - found[1] < METADATA_SECONDS:
            return found[0]
        with self._waiting(), self._fetching:
            return self._refreshed(now)

    def _refreshed(self, asked_at: float) -> Metadata:
        """The metadata fetched since, or fetched now; the last ones while that fails. The lock is held."""
        found, now = self._metadata, self._clock()
        if found is not None and found[1] >= asked_at:
            return found[0]
        failure = "the last fetch has just failed"
        if not 0 <= now - self._failed_at < RETRY_SECONDS:  # below 0 if the clock was set back
            try:
                fetched = self._fetch_metadata()
            except KeyFetchFailed as error:
                failure, self._failed_at = str(error), self._clock()
            else:
                self._metadata = fetched, self._clock()
                return fetched
        if found is not None and now - found[1] < KEEP_SECONDS:
            return found[0]
        raise ProviderUnavailable(f"the provider's metadata cannot be fetched: {failure}")

    def _fetch_metadata(self) -> Metadata:
        issuer = self.provider.issuer
        body = get(metadata_urls(issuer)[0], MAX_BYTES).body
        return read_provider_metadata(body, issuer)

    def authorization_url(self, redirect_uri: str, state: str, nonce: str, challenge: str) -> str:
        """Where the browser is sent, with PKCE (RFC 7636). Raises ProviderUnavailable."""
        parameters = {
            "response_type": "code",
            "client_id": self.provider.client_id,
            "redirect_uri": redirect_uri,
            "scope": " ".join(self.provider.scopes),
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        return with_query(self.metadata().authorization_endpoint, parameters)

    def claims(self, code: str, redirect_uri: str, verifier: str, nonce: str) -> dict[str, Any]:
        """The verified claims for an authorization code, and the ID token itself as `id_token`.

        Raises ProviderUnavailable, ProviderRefused and InvalidToken.
        """
        tokens = self._redeem(code, redirect_uri, verifier)
        encoded = tokens.get("id_token")
        if not isinstance(encoded, str):
            raise ProviderRefused("no ID token was sent; the scopes must include openid")
        found = self._verified(
            encoded, self.provider.trusted, lambda claims, now: id_token.verify(claims, self.provider, nonce, now)
        )
        endpoint, access = self.metadata().userinfo_endpoint, tokens.get("access_token")
        if endpoint is not None and isinstance(access, str) and not id_token.is_complete(found, self.provider):
            found = id_token.merge(found, self._userinfo(endpoint, access))
        return {**found, "id_token": encoded}

    def logout_request(self, encoded: str) -> LogoutRequest:
        """What a logout token asks for. Raises InvalidToken, and ProviderUnavailable."""
        issuer = logout_token.issuer_of(self.provider)
        return self._verified(encoded, issuer, lambda claims, now: logout_token.read(claims, self.provider, now))

    def end_session_url(self, hint: str | None, return_to: str) -> str | None:
        """Where the browser ends its session at the provider (OpenID Connect RP-Initiated Logout), if that is known."""
        try:
            endpoint = self.metadata().end_session_endpoint
        except ProviderUnavailable:
            return None
        parameters = {"client_id": self.provider.client_id, "post_logout_redirect_uri": return_to}
        return endpoint and with_query(endpoint, parameters | ({"id_token_hint": hint} if hint else {}))

    def _redeem(self, code: str, redirect_uri: str, verifier: str) -> dict[str, Any]:
        metadata, client = self.metadata(), self.provider.client_id
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        headers = {"Accept": "application/json"}
        secret = self._secret()
        if secret and not metadata.takes_secret_in_form:
            pair = f"{quote_plus(client)}:{quote_plus(secret)}"  # RFC 6749 section 2.3.1
            headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        else:
            form["client_id"] = client
            form |= {"client_secret": secret} if secret else {}
        status, body = self._call("POST", metadata.token_endpoint, headers, form)
        document = _object(body)
        if status != _OK:
            error = document.get("error")
            is_code = isinstance(error, str) and _ERROR.fullmatch(error) is not None
            raise ProviderRefused(str(error) if is_code else f"status {status}")
        return document

    def _userinfo(self, endpoint: str, access: str) -> dict[str, Any]:
        headers = {"Accept": "application/json", "Authorization": f"Bearer {access}"}
        status, body = self._call("GET", endpoint, headers)
        if status != _OK:
            raise ProviderRefused(f"user information: status {status}")
        return _object(body)

    def _call(
        self, method: str, url: str, headers: Mapping[str, str], form: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        if not self._calls.acquire(blocking=False):
            raise ProviderUnavailable("too many sign-ins wait for the provider")
        try:
            with self._waiting():
                status, response = send(
                    method, url, headers=headers, form=form, limit=MAX_BYTES, extra_seconds=EXTRA_SECONDS
                )
        except KeyFetchFailed as error:
            raise ProviderUnavailable(f"{urlsplit(url).netloc}: {error}") from None
        finally:
            self._calls.release()
        if status >= 500:
            raise ProviderUnavailable(f"{urlsplit(url).netloc}: status {status}")
        return status, response.body

    def _verified(self, encoded: str, issuer: Issuer, read: Callable[[dict[str, Any], float], T]) -> T:
        """What `read` makes of a token's claims and the time; it may raise InvalidToken.

        Raises InvalidToken, also for a bad signature, and ProviderUnavailable without keys.
        """
        try:
            token = parse(encoded)
        except ValueError:
            raise InvalidToken("the token is not a signed JWT") from None
        now = self._clock()
        algorithm, kid = check_header(token, issuer)
        found = read(token.claims, now)
        self._await_key(kid, now)
        try:
            check_signature(token, algorithm, kid, self._keys)
        except InvalidToken:
            before = self._keys.keys
            self._await(self._keys.prepare_newer(now))
            if self._keys.keys is before:
                raise
            check_signature(token, algorithm, kid, self._keys)
        return found

    def _await(self, wait: Wait | None) -> None:
        if wait is not None:
            with self._waiting(), contextlib.suppress(WaitTimeout):
                wait.fetch.result(wait.seconds)

    def _await_key(self, kid: str, now: float) -> None:
        self._await(self._keys.prepare(kid, now))
        if self._keys.keys is None:
            raise ProviderUnavailable("the provider's signing keys cannot be fetched")
        if not self._keys.contains(kid):
            raise InvalidToken("the token's key is not known")

    def _fetch_keys(self, _cause: Cause) -> FetchedKeys:
        """Runs in a thread of its own."""
        try:
            address = self.metadata().jwks_uri
        except ProviderUnavailable as error:
            raise KeyFetchFailed(str(error)) from None
        now = self._clock()
        response = get(address, jwks.MAX_BYTES)
        try:
            keys = jwks.parse(response.body)
        except ValueError as error:
            raise KeyFetchFailed(str(error)) from None
        seconds = max(freshness(response.headers), MIN_FRESH_SECONDS)
        return FetchedKeys(dict(keys), dict.fromkeys(keys, now + KEEP_SECONDS), seconds)


def with_query(url: str, parameters: Mapping[str, str]) -> str:
    """The URL with further parameters: an endpoint's own query is kept (RFC 6749 section 3.1)."""
    return f"{url}{'&' if urlsplit(url).query else '?'}{urlencode(parameters)}"


def _object(body: bytes) -> dict[str, Any]:
    try:
        return parse_object(body)
    except ValueError:
        raise ProviderRefused("the response is not a JSON object") from None
