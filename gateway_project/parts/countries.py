"""The database of countries, if the environment names one."""

from gateway_project.config import Config
from routing.countries.file import CountryFile
from routing.countries.lookup import COUNTRIES


def configure_countries(config: Config) -> None:
    """Let lists of addresses name countries. The file is read when the first address is looked up."""
    file = _file(config)
    COUNTRIES.configure(None if file is None else file.open)


def open_countries(config: Config) -> CountryFile | None:
    """The file, which has been read: no request may be answered without it. Raises ValueError."""
    file = _file(config)
    if file is not None:
        COUNTRIES.use(file.open())
    return file


def _file(config: Config) -> CountryFile | None:
    return None if config.geoip_database is None else CountryFile(config.geoip_database, COUNTRIES)
