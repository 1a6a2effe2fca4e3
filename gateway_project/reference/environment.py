"""The page of the environment variables: what each accepts and its default, as the code reads it.

Descriptions are those of docs/environment.md, which has every variable.
"""

import re
from collections.abc import Callable
from enum import Enum
from typing import Any, Final, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from gateway_project import config
from gateway_project.environment.variables import Variables
from gateway_project.reference.markdown import code, page, table, text
from gateway_project.reference.site import relink_sibling
from resilience.ratelimit.policy import RatePolicy

T = TypeVar("T")

_INTRODUCTION: Final = """\
The gateway reads its environment once, at the start. Every variable is optional except `SECRET_KEY`, which `DEBUG` does
without. An empty variable counts as unset. If any is invalid, the gateway does not start, and names all that are.
`.env.example` in the repository has all variables. Lists are separated by commas or spaces."""
_ROW: Final = re.compile(r"^\| (`[A-Z_`, ]+`) \|(.*?)\|(.*)\|$", re.MULTILINE)
_NAME: Final = re.compile(r"`([A-Z_]+)`")
_UNREADABLE: Final = "\x01"
"""A text that only a variable for plain text accepts."""
_SUBJECT: Final = re.compile(r"^(?:[^:]{0,20} )?(?:must be|is not) ")
_READS_ALL: Final = {"STAFF_OIDC_ISSUER": "https://login.example.com"}
"""With it, the variables of staff's sign-in are read too."""


class Variable(msgspec.Struct, frozen=True):
    """What a variable accepts, in words, and its default as the environment would say it; empty if there is none."""

    accepts: str
    default: str


def environment_page(descriptions: str) -> str:
    """`descriptions` is the text of docs/environment.md."""
    found = variables()
    parts = [_INTRODUCTION]
    documented = _ROW.findall(descriptions)
    with_rows = {name for names, _, _ in documented for name in _NAME.findall(names)}
    for names, default, description in documented:
        mentioned = [name for name in _NAME.findall(description) if name in found.keys() - with_rows]
        rows = [_row(name, found.get(name)) for name in [*_NAME.findall(names), *mentioned]]
        parts += [f"## {names}", _sentence(description.strip()), _documented_default(default.strip(), rows)]
    return page("Environment variables", *parts)


def variables() -> dict[str, Variable]:
    """The variables that the configuration is read from, by name, but those of OpenTelemetry."""
    recorder = _Recorder()
    config.parse(_READS_ALL, recorder, None)
    return recorder.found


class _Recorder(Variables):
    def __init__(self) -> None:
        super().__init__({}, [])
        self.found: dict[str, Variable] = {}

    def get(self, name: str, default: T, parse: Callable[[str], T]) -> T:
        self.found[name] = Variable(_accepts(parse), _display(default))
        return super().get(name, default, parse)


def _row(name: str, variable: Variable | None) -> tuple[str, str, str]:
    return (code(name), text(variable.accepts), code(variable.default)) if variable else (code(name), "a text", "")


def _sentence(description: str) -> str:
    content = relink_sibling(description)
    return f"{content[:1].upper()}{content[1:]}." if content else ""


def _documented_default(default: str, rows: list[tuple[str, str, str]]) -> str:
    """The table of the code's defaults; the words of the descriptions too, where these say more than a value."""
    default = relink_sibling(default)
    words = "" if re.fullmatch(r"(`[^`]*`|none|any)?(, (`[^`]*`|none|any))*|off|", default) else f"Default: {default}."
    return "\n\n".join(filter(None, [words, table(("variable", "accepts", "default"), rows)]))


def _accepts(parse: Callable[[str], Any]) -> str:
    try:
        value = parse(_UNREADABLE)
    except ValueError as error:
        message = _SUBJECT.sub("", str(error))
        return "" if _UNREADABLE in message or repr(_UNREADABLE) in message else message
    return "a list" if isinstance(value, tuple) else "a text"


def _display(default: object) -> str:
    if isinstance(default, bool):
        return "on" if default else "off"
    if isinstance(default, Enum):
        return str(default.value)
    if isinstance(default, tuple):
        return ", ".join(filter(None, map(_display, default)))
    if isinstance(default, int | str | ZoneInfo | RatePolicy):
        return str(default).replace(str(config.VAR.parent) + "/", "")
    return ""
