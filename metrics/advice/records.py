"""A piece of advice, and the change that it proposes."""

from enum import StrEnum
from typing import Any
from urllib.parse import urlencode

import msgspec

Configuration = dict[str, Any]
"""The configuration file's structure, masked and in canonical form."""


class Topic(StrEnum):
    TTL = "ttl"
    ROUTE = "route"
    KEY = "key"
    LIMIT = "limit"


class ChangedSetting(StrEnum):
    """What a draft changes. Each applies to the service's own settings if it names no route."""

    TTL = "ttl"
    DISABLE = "disable"
    RATE = "rate"
    QUOTA = "quota"
    BREAKER = "breaker"
    REVOKE = "revoke"


class Draft(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A change of one value. `route` is the path of a route, `key` the prefix of an API key, `per` the period of a
    quota. `value` is as the configuration file writes it: that of `ttl`, `rate_limit` or a quota's `amount`.
    """

    change: ChangedSetting
    service: str = ""
    route: str = ""
    plan: str = ""
    per: str = ""
    key: str = ""
    value: str = ""
    failure_threshold: int = 0
    window: str = ""
    open_for: str = ""

    @property
    def owner(self) -> str | None:
        """The service that is changed; None for a key or a plan, even if `service` is set."""
        return None if self.change in (ChangedSetting.QUOTA, ChangedSetting.REVOKE) else self.service

    @property
    def query(self) -> str:
        return urlencode(msgspec.to_builtins(self))


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """`subject` is what it is about, such as a route's path; `text` says why. `calls` is how many calls a day it saves.
    `draft` is the change that would follow it, if one value is enough for that, and `label` says what it does.
    """

    topic: Topic
    service: str
    subject: str
    text: str
    calls: float = 0.0
    draft: Draft | None = None
    label: str = ""
