"""The presets that are shipped, one YAML file each beside this module. No Django; files are read once."""

from functools import lru_cache
from importlib.resources import files
from typing import Any, Final

import msgspec
import yaml

_SUFFIX: Final = ".yaml"


class Question(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a person is asked for: `key` is its placeholder in `settings`. An empty `default` is none."""

    key: str
    text: str
    default: str = ""


class CredentialCheck(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A harmless request that needs the credential. `expect` is a condition on its response, None for status 200."""

    path: str
    method: str = "GET"
    expect: dict[str, Any] | None = None


class Connection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How `manage.py connect` makes a service: `settings` with each `{key}` replaced by an answer.

    `name` is the service's usual name, and `example` a path to try. `headers` are fields that the API requires, which
    its clients send by themselves.
    """

    name: str
    ask: tuple[Question, ...]
    settings: dict[str, Any]
    check: CredentialCheck
    example: str
    headers: dict[str, str] = msgspec.field(default_factory=dict)


class ServicePreset(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A shipped file. `service` are settings of a service, and `credential` those that complete a service's own.

    `webhook` are settings of a webhook, and None for an API that sends none.
    """

    title: str
    service: dict[str, Any]
    connect: Connection
    credential: dict[str, Any] | None = None
    webhook: dict[str, Any] | None = None


@lru_cache(maxsize=1)
def webhook_names() -> tuple[str, ...]:
    """The names of the presets of APIs that send webhooks."""
    return tuple(name for name in names() if preset(name).webhook is not None)


@lru_cache(maxsize=1)
def names() -> tuple[str, ...]:
    """The names of all presets, in alphabetical order."""
    shipped = (file.name for file in files(__package__).iterdir())
    return tuple(sorted(name.removesuffix(_SUFFIX) for name in shipped if name.endswith(_SUFFIX)))


def text(name: str) -> str:
    """A preset's file as it is shipped. Raises ValueError if there is none of this name."""
    if name not in names():
        raise ValueError(f"there is no preset {name!r} (known: {', '.join(names())})")
    return files(__package__).joinpath(name + _SUFFIX).read_text("utf-8")


@lru_cache(maxsize=32)
def preset(name: str) -> ServicePreset:
    """Raises ValueError if there is none of this name."""
    return msgspec.convert(yaml.safe_load(text(name)), ServicePreset)
