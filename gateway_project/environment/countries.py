"""GEOIP_DATABASE: the file in which the countries of addresses are looked up."""

from pathlib import Path
from typing import Final

from gateway_project.environment.extras import missing_extra
from gateway_project.environment.values import Get, file

NAME: Final = "GEOIP_DATABASE"
_MARKER: Final = b"\xab\xcd\xefMaxMind.com"
_MARKED: Final = 128 * 1024
"""The format's marker is within this many bytes of the end."""


def read(get: Get) -> Path | None:
    found: Path | None = get("GEOIP_DATABASE", None, database)
    return found


def database(text: str) -> Path:
    """A file in MaxMind's format, by its end: it is read as a whole when a worker starts."""
    path = file(text).absolute()
    try:
        with path.open("rb") as opened:
            size = opened.seek(0, 2)
            opened.seek(max(0, size - _MARKED))
            end = opened.read()
    except OSError as error:
        raise ValueError(f"{text!r}: {error.strerror}") from None
    missing = missing_extra(NAME, "it", "geoip", "maxminddb")
    if missing:
        raise ValueError(missing[0].removeprefix(f"{NAME}: "))
    if _MARKER not in end:
        raise ValueError(f"{text!r} is not a MaxMind DB file (.mmdb), which downloads contain in an archive")
    return path
