"""Runs all checks."""

from collections.abc import Iterator

from django.db import connection

from gateway_project.config import Config
from gateway_project.doctor.backends import check_services
from gateway_project.doctor.certificates import check_revocations
from gateway_project.doctor.countries import check_countries
from gateway_project.doctor.database import MIGRATIONS, check_database
from gateway_project.doctor.environment import check_environment
from gateway_project.doctor.finding import Finding, Level
from gateway_project.doctor.machine import check_machine
from gateway_project.doctor.redis import check_redis
from gateway_project.doctor.startup_file import check_startup_file


def report(config: Config, timeout: float) -> Iterator[Finding]:
    """All findings. `timeout` is for each connection to a backend, in seconds."""
    yield from check_environment(config)
    yield from check_countries(config)
    yield from check_revocations(config)
    yield from check_machine(config)
    yield from check_startup_file(config)
    database = list(check_database(config, connection))
    yield from database
    yield from check_redis(config, config.redis_server)
    if any(finding.check == MIGRATIONS and finding.level is Level.OK for finding in database):
        yield from check_services(config, timeout)
