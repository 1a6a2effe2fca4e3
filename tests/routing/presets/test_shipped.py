"""Each preset that is shipped is a valid service by itself."""

import pytest

from routing.configuration.decode import decode_service
from routing.presets import shipped

NAMES = ("anthropic", "github", "gmail", "google-calendar", "hubspot", "openai", "salesforce", "slack")


def test_the_shipped_presets_are_listed() -> None:
    assert shipped.names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_alone_is_a_valid_service(name: str) -> None:
    own = {"targets": [{"url": "https://acme.my.salesforce.com"}]} if name == "salesforce" else {}
    service = decode_service("any", {"preset": name, **own}, lambda _name: "secret")
    assert all(target.url.startswith("https://") for target in service.targets)
    assert shipped.preset(name).title


@pytest.mark.parametrize("name", NAMES)
def test_a_presets_file_is_readable(name: str) -> None:
    """No line is longer than a terminal is wide, and the first line says what it is."""
    lines = shipped.text(name).splitlines()
    assert lines[0].startswith("# ")
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize("name", ["", "slack.yaml", "../slack", "Slack", "none"])
def test_an_unknown_preset_raises_an_error(name: str) -> None:
    with pytest.raises(ValueError, match="there is no preset"):
        shipped.text(name)
