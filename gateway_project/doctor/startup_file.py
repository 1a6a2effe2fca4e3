"""The file that GATEWAY_CONFIG names, which is applied at each start: a start ends if it has faults."""

from collections.abc import Iterator
from typing import Final

from gateway_project.config import Config
from gateway_project.doctor.finding import Finding, error, ok, warning
from routing.configuration.document import parse_file
from routing.configuration.faults import ConfigurationError
from routing.models import ANY_SECRET

CHECK: Final = "GATEWAY_CONFIG"
SHOWN: Final = 10


def check_startup_file(config: Config) -> Iterator[Finding]:
    """Nothing without GATEWAY_CONFIG."""
    path = config.gateway_config
    if path is None:
        return
    try:
        document = parse_file(path.read_bytes())
        document.services(ANY_SECRET, is_part=True)
    except OSError as fault:
        yield error(CHECK, f"{path}: {fault.strerror}", "make the file readable for the gateway's user")
        return
    except ConfigurationError as faults:
        yield error(CHECK, f"{path}: {_shown(faults)}", "correct the file: the gateway does not start with it")
        return
    try:
        document.services(config.secret, is_part=True)
    except ConfigurationError as faults:
        yield warning(CHECK, f"{path}: {_shown(faults)}", "set them here: their services are out of service until then")
        return
    yield ok(CHECK, str(path))


def _shown(faults: ConfigurationError) -> str:
    listed = "; ".join(str(fault) for fault in faults.faults[:SHOWN])
    more = len(faults.faults) - SHOWN
    return f"{listed}; and {more} more" if more > 0 else listed
