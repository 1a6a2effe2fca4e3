"""The demonstration's configuration: the text beside this file, with the ports the backends really have."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import yaml

FILE: Final = Path(__file__).with_name("gateway.yaml")


def document(ports: Mapping[str, int]) -> dict[str, Any]:
    """The configuration document, each service's target on its port in `ports`."""
    read: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    for name, service in read["services"].items():
        service["targets"] = [{"url": f"http://127.0.0.1:{ports[name]}"}]
    return read


def preferred_ports() -> dict[str, int]:
    """Service name to the port its target has in the file."""
    services = yaml.safe_load(FILE.read_text(encoding="utf-8"))["services"]
    return {name: urlsplit(service["targets"][0]["url"]).port or 80 for name, service in services.items()}
