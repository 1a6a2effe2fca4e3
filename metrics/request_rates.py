"""Counts of requests to Django's pages by address, account or key, in Django's cache."""

from collections.abc import Callable

from django.http import HttpRequest
from django_ratelimit.core import is_ratelimited

RateKey = str | Callable[[str, HttpRequest], str]


def exceeds(request: HttpRequest, group: str, key: RateKey, rate: str, *, count: bool = False) -> bool:
    """Whether the requests that were counted under `group` and `key` exceed `rate`; `count` counts this one."""
    try:
        return bool(is_ratelimited(request, group=group, key=key, rate=rate, increment=count))
    except TypeError:  # the cached value is not a count: another program has written it
        return False
