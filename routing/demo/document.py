"""The demonstration's configuration: `gateway.yaml`, with the actual ports of the backends."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import yaml

FILE: Final = Path(__file__).with_name("gateway.yaml")


def document(ports: Mapping[str, int]) -> dict[str, Any]:
    """The configuration document, with each service's target at its port in `ports`."""
    configuration: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    for name, service in configuration["services"].items():
        service["targets"] = [{"url": f"http://127.0.0.1:{ports[name]}"}]
    return configuration


def preferred_ports() -> dict[str, int]:
    """The ports in the file, by service name."""
    services = yaml.safe_load(FILE.read_text(encoding="utf-8"))["services"]
    return {name: urlsplit(service["targets"][0]["url"]).port or 80 for name, service in services.items()}
