"""Where this installation's files are: in a checkout of the repository, or among packages that pip has installed."""

import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote, urlsplit

_PACKAGE: Final = Path(__file__).resolve().parent.parent
BASE_DIR: Final = _PACKAGE.parent
IS_CHECKOUT: Final = (BASE_DIR / "manage.py").is_file() and (BASE_DIR / "templates").is_dir()
TEMPLATES: Final = BASE_DIR / "templates" if IS_CHECKOUT else _PACKAGE / "templates"
_SYSTEM: Final = Path("/var/lib")
"""Where the state of a user without a home is."""


def default_state(environment: Mapping[str, str] = os.environ, *, is_checkout: bool = IS_CHECKOUT) -> Path:
    """The default DATA_DIR: `var` of a checkout, else a directory of the user's (XDG Base Directory Specification).

    An upgrade replaces what pip has installed.
    """
    if is_checkout:
        return BASE_DIR / "var"
    named, home = environment.get("XDG_STATE_HOME", ""), environment.get("HOME", "")
    if named.startswith("/"):
        parent = Path(named)
    else:
        parent = Path(home) / ".local" / "state" if home.startswith("/") else _SYSTEM
    return parent / "intelligence-gateway"


def default_database(state: Path) -> str:
    """The URL of the SQLite database in a state directory."""
    return f"sqlite:///{quote(str(state / 'gateway.sqlite3'))}"


def directory_of(database: str) -> Path | None:
    """The directory of a database file; None for any other database."""
    parts = urlsplit(database)
    is_file = parts.scheme == "sqlite" and ":memory:" not in database and len(parts.path) > 1
    return Path(unquote(parts.path[1:])).parent if is_file else None


def database_digest(database: str) -> str:
    """What tells databases apart, without their passwords. Empty for a database in memory, which nobody shares."""
    if urlsplit(database).scheme != "sqlite":
        return sha256(database.encode()).hexdigest()
    if directory_of(database) is None:
        return ""
    file = Path(unquote(urlsplit(database).path[1:])).resolve()
    return sha256(bytes(file)).hexdigest()
