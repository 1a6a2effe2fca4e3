"""The database of countries."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from gateway_project.config import Config
from gateway_project.doctor.finding import Finding, error, off, ok, warning
from routing.countries.database import open_database

CHECK: Final = "countries"
OLD_DAYS: Final = 90
"""An older file is reported. Networks move between countries, and publishers update their databases weekly or monthly.
"""


def check_countries(config: Config) -> Iterator[Finding]:
    path = config.geoip_database
    if path is None:
        yield off(CHECK, "no GEOIP_DATABASE: lists of addresses may not name countries")
        return
    try:
        found = open_database(path.read_bytes())
    except (OSError, ValueError) as fault:
        yield error(CHECK, f"{path}: {getattr(fault, 'strerror', None) or fault}", "download the database again")
        return
    built = datetime.fromtimestamp(found.built, UTC).date()
    if time.time() - found.built > OLD_DAYS * 86_400:
        advice = "download it every week, and rename it into place: it is read again without a restart"
        yield warning(CHECK, f"{found.kind} of {built}: older than {OLD_DAYS} days", advice)
    else:
        yield ok(CHECK, f"{found.kind} of {built}, {path}")
