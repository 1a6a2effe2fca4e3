"""What is fetched from a provider, how often, and for how long it may take."""

import contextlib
import time
from collections.abc import Iterator

import pytest

from metrics.sign_in import provider_client
from metrics.sign_in.policy import Provider
from metrics.sign_in.provider_client import ProviderClient, ProviderUnavailable, with_query
from metrics.sign_in.provider_metadata import read_provider_metadata
from routing.authentication import key_endpoint
from routing.authentication.key_endpoint import KeyFetchFailed
from routing.errors import InvalidToken
from tests.clock import FakeClock
from tests.identity_provider import jwk
from tests.openid_provider import CLIENT_ID, CLIENT_SECRET, OpenIDProvider, serving_openid

pytestmark = pytest.mark.slow
DOCUMENT = '{"issuer":"https://a.example","jwks_uri":"https://a.example/k","authorization_endpoint":"%s","token_endpoint":"%s"}'


@pytest.fixture
def provider() -> Iterator[OpenIDProvider]:
    with serving_openid(OpenIDProvider()) as served:
        yield served


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def client(provider: OpenIDProvider, clock: FakeClock) -> ProviderClient:
    settings = Provider(issuer=provider.issuer, client_id=CLIENT_ID)
    return ProviderClient(settings, lambda: CLIENT_SECRET, contextlib.nullcontext, clock)


def fetches(provider: OpenIDProvider) -> int:
    return [path for path, _ in provider.requests].count(provider.metadata_path)


def test_metadata_are_kept_for_an_hour_and_used_for_a_day(provider: OpenIDProvider, clock: FakeClock) -> None:
    found = client(provider, clock)
    first = found.metadata()
    assert [found.metadata() for _ in range(5)] == [first] * 5
    assert fetches(provider) == 1
    clock.advance(3_601)
    provider.is_away = True
    assert found.metadata() == first
    provider.is_away = False
    clock.advance(provider_client.RETRY_SECONDS + 1)
    found.metadata()
    assert fetches(provider) == 2
    provider.is_away = True
    clock.advance(25 * 3_600)
    with pytest.raises(ProviderUnavailable):
        found.metadata()


def test_a_provider_that_is_away_is_not_tried_by_everybody(provider: OpenIDProvider, clock: FakeClock) -> None:
    found = client(provider, clock)
    provider.is_away = True
    for _ in range(5):
        with pytest.raises(ProviderUnavailable):
            found.metadata()
    provider.is_away = False
    with pytest.raises(ProviderUnavailable, match="has just failed"):
        found.metadata()
    clock.advance(-3_600)  # set back: the failure was an hour ahead
    assert found.metadata().token_endpoint == f"{provider.issuer}/token"


def test_a_call_takes_a_bounded_time(
    provider: OpenIDProvider, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_endpoint, "READ_SECONDS", 0.2)
    monkeypatch.setattr(provider_client, "EXTRA_SECONDS", 0.1)
    provider.slow_path = "/token"
    provider.gate.clear()
    began = time.monotonic()
    with pytest.raises(ProviderUnavailable, match="timeout"):
        client(provider, clock).claims("code", "https://gateway.test/", "verifier", "nonce")
    assert time.monotonic() - began < 15  # the provider would wait for 20 s


def test_few_calls_wait_at_a_time(provider: OpenIDProvider, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider_client, "MAX_CALLS", 0)
    with pytest.raises(ProviderUnavailable, match="too many"):
        client(provider, clock).claims("code", "https://gateway.test/", "verifier", "nonce")


@pytest.mark.parametrize(
    "address", ["http://a.example/", "javascript:alert(1)", "", "https://u@a.example/", "/relative"]
)
def test_addresses_of_metadata_must_be_https(address: str) -> None:
    with pytest.raises(KeyFetchFailed):
        read_provider_metadata((DOCUMENT % (address, "https://a.example/t")).encode(), "https://a.example")
    with pytest.raises(KeyFetchFailed):
        read_provider_metadata((DOCUMENT % ("https://a.example/a", address)).encode(), "https://a.example")


def test_metadata_of_another_issuer_are_refused() -> None:
    document = (DOCUMENT % ("https://a.example/a", "https://a.example/t")).encode()
    with pytest.raises(KeyFetchFailed, match="another issuer"):
        read_provider_metadata(document, "https://a.example/")


def test_an_endpoints_own_query_is_kept() -> None:
    assert (
        with_query("https://a.example/authorize?p=b2c", {"state": "a b"})
        == "https://a.example/authorize?p=b2c&state=a+b"
    )


def test_logout_tokens_are_verified_with_the_keys_of_the_provider(provider: OpenIDProvider, clock: FakeClock) -> None:
    """A rotated key is looked up at once. Without any keys, a token may be sent again."""
    clock.now = time.time()
    found = client(provider, clock)
    provider.is_away = True
    with pytest.raises(ProviderUnavailable):
        found.logout_request(provider.logout_token(sid="s"))
    provider.is_away = False
    clock.advance(60)
    assert found.logout_request(provider.logout_token(sid="s")).sid == "s"
    provider.keys = [jwk("k2")]
    clock.advance(31)
    assert found.logout_request(provider.logout_token("k2", sid="t")).sid == "t"
    with pytest.raises(InvalidToken, match="not a signed JWT"):
        found.logout_request("not a token")
