"""The documentation agrees with the code."""

import re
import time
from pathlib import Path

import pytest

from gateway_project import config
from resilience.breaker.driver import Breakers
from resilience.breaker.memory import MemoryStore as BreakerMemory
from resilience.cache.driver import Cache
from resilience.cache.memory import MemoryStore as CacheMemory
from resilience.cache.policy import CachePolicy
from resilience.ratelimit.driver import Limiter
from resilience.ratelimit.memory import MemoryStore as RateMemory
from routing.authentication.authenticator import Authenticator
from routing.backend.client import Backend
from routing.gateway_rules import GatewayRules
from routing.observability.events import Observers
from routing.pipeline import Gateway
from routing.router.gateway_cookies import GatewayCookies
from routing.router.live import LiveConfiguration
from routing.router.policy import RoutePolicy, Target
from routing.router.table import Match, Service
from routing.steps.cache.steps import CacheDependencies
from routing.steps.calls import Calls

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_readmes_nine_steps_are_the_pipelines() -> None:
    """2 to 8 are the list that a request to a route takes; 1 makes the exchange, and 9 returns errors too."""
    documented = re.findall(r"^(\d)\. ([a-z ]+):", README, re.MULTILINE)
    live = LiveConfiguration()
    gateway = Gateway(
        rules=GatewayRules(),
        live=live,
        limiter=Limiter(RateMemory(), clock=time.time),
        authenticator=Authenticator(lambda: live.keys),
        cache=CacheDependencies(Cache(CacheMemory(time.time)), GatewayCookies()),
        calls=Calls(Backend(), Breakers(BreakerMemory()), cookies=GatewayCookies(), max_body_bytes=1),
        observers=Observers([]),
    )
    service = Service("crm", (Target("http://127.0.0.1:1"),), policy=RoutePolicy(cache=CachePolicy()))
    listed = [name for name, _ in gateway.steps(Match(service, service.policy, b"/"), "GET")]
    around = re.findall(r"# (\d [a-z ]+)$", (ROOT / "routing" / "pipeline.py").read_text(), re.MULTILINE)
    assert documented == [(str(number), name) for number, name in enumerate(["request id", *listed, "return"], 1)]
    assert sorted(set(around)) == ["1 request id", "9 return"]


def test_every_path_in_the_table_of_the_code_exists() -> None:
    table = (ROOT / "docs" / "code.md").read_text()
    paths = re.findall(r"`((?:routing|resilience|metrics|gateway_project|tests)/[a-z0-9_/.]*)`", table)
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_test_in_the_table_of_threats_exists() -> None:
    page = (ROOT / "docs" / "security.md").read_text()
    threats = [line for line in page[page.index("## Threats") :].splitlines() if line.startswith("| ")][1:]
    assert len(threats) > 20
    for threat in threats:
        paths = re.findall(r"`(tests/[a-z_0-9/.]+)`", threat)
        assert paths, threat
        assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("document", ["docs/environment.md", ".env.example"])
def test_every_variable_is_documented(document: str) -> None:
    source = Path(config.__file__).read_text()
    read = set(re.findall(r'(?:get\(|environment\.get\()"([A-Z_]+)"', source))
    text = (ROOT / document).read_text()
    assert "RATE_LIMIT" in read
    assert [name for name in sorted(read) if name not in text] == []


def test_the_example_environment_is_a_valid_one() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    example = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert config.read({**example, "SECRET_KEY": "x" * 32}).server.workers == 1
