"""A gateway before the demonstration's backends, for the providers' own SDKs.

The SDKs are given the gateway's address and a key of the gateway. The credentials that the backends require are the
gateway's own, from its environment.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest
import requests

from routing.demo.process import Demonstration
from tests.seed import create_keys
from tests.system.server import Server, document

TOKENS: Final = {
    "slackIntelligence": "xoxb-right",
    "gmailIntelligence": "ya29.right",
    "calendarIntelligence": "ya29.right",
    "crm": "pat-right",
    "aiRouting": "sk-ant-right",
}
VARIABLES: Final = {
    "GATEWAY_SECRET_SLACK": TOKENS["slackIntelligence"],
    "GATEWAY_SECRET_GOOGLE": TOKENS["gmailIntelligence"],
    "GATEWAY_SECRET_HUBSPOT": TOKENS["crm"],
    "GATEWAY_SECRET_MODELS": TOKENS["aiRouting"],
}
UNLIMITED: Final = "1000000/m"


@dataclass(frozen=True)
class Gateway:
    """`key` may use every service. `ports` are the backends', by the demonstration's names."""

    address: str
    key: str
    ports: dict[str, int]

    def base(self, service: str) -> str:
        return f"{self.address}/api/v1/{service}"

    def set(self, backend: str, **settings: object) -> None:
        """Change the settings of a backend."""
        url = f"http://127.0.0.1:{self.ports[backend]}/demo/settings"
        requests.post(url, json=settings, timeout=30).raise_for_status()

    def calls(self, backend: str, operation: str) -> int:
        """How often the backend has been called."""
        counts = requests.get(f"http://127.0.0.1:{self.ports[backend]}/demo/calls", timeout=30).json()
        return int(counts["operations"].get(operation, 0))


def _services(ports: dict[str, int]) -> dict[str, Any]:
    def service(preset: str, backend: str, headers: dict[str, str], **more: object) -> dict[str, Any]:
        targets = [{"url": f"http://127.0.0.1:{ports[backend]}"}]
        return {"preset": preset, "targets": targets, "headers": headers, "rate_limit": UNLIMITED, **more}

    def bearer(name: str) -> dict[str, str]:
        return {"Authorization": f"Bearer env:GATEWAY_SECRET_{name}"}

    return {
        "slack": service("slack", "slackIntelligence", bearer("SLACK")),
        "gmail": service("gmail", "gmailIntelligence", bearer("GOOGLE")),
        "calendar": service("google-calendar", "calendarIntelligence", bearer("GOOGLE")),
        "hubspot": service("hubspot", "crm", bearer("HUBSPOT")),
        "openai": service("openai", "aiRouting", bearer("MODELS")),
        "anthropic": service("anthropic", "aiRouting", {"X-Api-Key": "env:GATEWAY_SECRET_MODELS"}),
    }


@pytest.fixture(scope="session")
def running() -> Iterator[Gateway]:
    demonstration = Demonstration({})
    try:
        ports = demonstration.start()
        server = Server(migrated=True, environment=VARIABLES)
        file = server.directory / "gateway.yaml"
        file.write_text(document(_services(ports)))
        server.environment["GATEWAY_CONFIG"] = str(file)
        keys = create_keys(server.manage, {"sdk": ()})
        with server:
            yield Gateway(server.address, keys["sdk"], ports)
    finally:
        demonstration.stop()


@pytest.fixture
def gateway(running: Gateway) -> Gateway:
    """The gateway, whose backends require the credentials, and have neither latency, limits nor errors."""
    for backend, token in TOKENS.items():
        running.set(backend, token=token, latency=0.0, limits=False, errors={}, webhook=None)
    return running


@pytest.fixture
def failing(gateway: Gateway) -> Callable[..., None]:
    """Let an operation of a backend fail with an error."""

    def fail(backend: str, operation: str, error: str) -> None:
        gateway.set(backend, errors={operation: error})

    return fail
