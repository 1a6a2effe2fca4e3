"""The database of countries, if the environment names one."""

from gateway_project.config import Config
from resilience.watched_file import WatchedFile
from routing.countries.database import open_database
from routing.countries.lookup import COUNTRIES


def configure_countries(config: Config) -> None:
    """Let lists of addresses name countries. The file is read when the first address is looked up."""
    file = _file(config)
    COUNTRIES.configure(None if file is None else file.load)


def open_countries(config: Config) -> WatchedFile | None:
    """The file, which has been read: no request may be answered without it. Raises ValueError."""
    file = _file(config)
    if file is not None:
        file.load()
    return file


def _file(config: Config) -> WatchedFile | None:
    path = config.geoip_database
    return None if path is None else WatchedFile(path, _use, "the database of countries")


def _use(content: bytes) -> None:
    COUNTRIES.use(open_database(content).find)
