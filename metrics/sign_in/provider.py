"""The provider of this process, and the addresses at which it reaches the gateway."""

from contextlib import AbstractContextManager
from functools import cache

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse

from metrics.sign_in.policy import Provider, SecondFactor, SignIn
from metrics.sign_in.provider_client import ProviderClient
from routing import runtime
from routing.configuration.headers import reference


def sign_in() -> SignIn:
    """How people sign in: with passwords alone, unless the environment says otherwise."""
    return settings.CONFIG.sign_in or SignIn(second_factor=SecondFactor.OFF)


def configured() -> Provider | None:
    """The provider, if there is one."""
    return sign_in().provider


@cache
def client(provider: Provider) -> ProviderClient:
    """Kept with the provider's metadata and keys."""
    return ProviderClient(provider, _secret, _released)


def _released() -> AbstractContextManager[None]:
    return runtime.current().turn.released()


def redirect_uri(request: HttpRequest) -> str:
    return request.build_absolute_uri(reverse("sign_in_callback"))


def _secret() -> str:
    """The client's secret now: a file may have been replaced since the start."""
    provider = configured()
    value = "" if provider is None else provider.client_secret
    found = reference(value)
    return value if found is None else settings.CONFIG.secret(found.name) or ""
