"""The kinds of callers, and which rows of usage belong to each."""

from enum import StrEnum
from http import HTTPStatus
from typing import Final

import msgspec

from metrics.models import DailyUsage
from metrics.usage.selectors import UsageRows
from routing.caller import KEY_CALLER
from routing.errors import GatewayError


class Kind(StrEnum):
    """CALLER: the id of a key or identity without a consumer, empty for requests without a credential. KEY: the prefix
    of an API key, with or without a consumer.
    """

    CONSUMER = "consumer"
    CALLER = "caller"
    KEY = "key"
    TEAM = "team"


KINDS: Final = tuple(kind.value for kind in Kind)


class CallerName(msgspec.Struct, frozen=True):
    kind: Kind
    name: str

    @property
    def key(self) -> str:
        """The prefix of the API key that this is; empty for others."""
        if self.kind is Kind.CALLER and self.name.startswith(KEY_CALLER):
            return self.name.removeprefix(KEY_CALLER)
        return self.name if self.kind is Kind.KEY else ""

    def usage(self) -> UsageRows:
        """All rows of this caller."""
        rows = DailyUsage.objects.all()
        match self.kind:
            case Kind.CONSUMER:
                return rows.filter(consumer=self.name)
            case Kind.CALLER:
                return rows.filter(consumer="", caller=self.name)
            case Kind.KEY:
                return rows.filter(api_key=self.name)
        return rows.filter(team=self.name)


class UnknownCaller(GatewayError):
    status = HTTPStatus.NOT_FOUND
    code = "unknown_caller"
    title = "No such caller is configured, and none was counted"
