"""compose.yaml gives the gateway everything that can be configured."""

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SESSION = {"HOME", "XDG_STATE_HOME"}


def read_variables() -> set[str]:
    """Names of the variables that the gateway reads, from the source of those who read them: but those of the user's
    session, which a container does not have.
    """
    sources = [ROOT / "gateway_project" / "config.py", *(ROOT / "gateway_project" / "environment").glob("*.py")]
    text = "".join(path.read_text() for path in sources)
    found = set(re.findall(r'\bget\(\s*"([A-Z][A-Z0-9_]+)"', text))
    return found - SESSION - {name for name in found if name.startswith("OTEL_")}


def test_every_variable_is_passed_on() -> None:
    documented = set(re.findall(r"^([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    read = read_variables()
    assert {"RATE_LIMIT", "WORKERS", "METERING_URL", "STAFF_OIDC_ISSUER", "CLIENT_CA", "PORTAL_HOST"} <= read
    assert read <= documented
    for name in ("gateway", "migrate"):
        assert set(COMPOSE["services"][name]["environment"]) == documented


def test_secrets_of_services_are_passed_on() -> None:
    gateway = COMPOSE["services"]["gateway"]
    assert gateway["env_file"] == [
        {"path": ".env", "required": False}
    ]  # GATEWAY_SECRET_..., and what OTEL_... there is
    assert "${SECRETS:-./secrets}:/run/secrets:ro" in gateway["volumes"]


def test_no_variable_that_is_unset_replaces_a_default_by_a_made_up_one() -> None:
    """`NAME:` passes NAME on if it is set. Of the rest, none is a secret's default."""
    environment = COMPOSE["services"]["gateway"]["environment"]
    given = {name: str(value) for name, value in environment.items() if value is not None}
    assert given["SECRET_KEY"].startswith("${SECRET_KEY:?")
    assert ":?" in given["DATABASE_URL"]
    assert set(given) == {
        "SECRET_KEY", "ALLOWED_HOSTS", "HOST", "PORT", "WORKERS", "DRAIN_SECONDS", "GRACE_SECONDS", "DATABASE_URL",
        "REDIS_URL", "LOG_FORMAT",
    }  # fmt: skip


def test_containers_of_the_gateway_can_write_to_a_bounded_tmp_alone() -> None:
    for name in ("gateway", "migrate"):
        service = COMPOSE["services"][name]
        assert service["read_only"] is True
        assert [re.sub(r",.*", "", mount) for mount in service["tmpfs"]] == ["/tmp:size=64m"]  # noqa: S108 - of a container
        assert all(volume.endswith(":ro") for volume in service["volumes"])


def test_the_gateway_is_killed_after_its_grace() -> None:
    gateway = COMPOSE["services"]["gateway"]
    environment = gateway["environment"]
    assert gateway["stop_grace_period"] == f"{environment['DRAIN_SECONDS'] + environment['GRACE_SECONDS'] + 5}s"
