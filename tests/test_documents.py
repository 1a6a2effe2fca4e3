"""What the documents say is what the code does."""

import re
from pathlib import Path

import pytest

from gateway_project import config

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_readmes_nine_steps_are_the_pipelines() -> None:
    told = re.findall(r"^(\d)\. ([a-z ]+):", README, re.MULTILINE)
    pipeline = (ROOT / "routing" / "pipeline.py").read_text()
    handled = pipeline[pipeline.index("def handle") : pipeline.index("def renewed")]
    numbered = re.findall(r"(\d) ([a-z ]+?)(?=,|$)", "\n".join(re.findall(r"# (\d .*)", handled)), re.MULTILINE)
    assert numbered == told
    assert [number for number, _ in told] == list("123456789")


def test_every_room_the_readme_names_is_there() -> None:
    table = README[README.index("## Where things are") : README.index("## Configuration")]
    rooms = re.findall(r"`((?:routing|resilience|gateway_project)/[a-z_/.]*)`", table)
    assert rooms
    assert [room for room in rooms if not (ROOT / room).exists()] == []


@pytest.mark.parametrize("document", ["README.md", ".env.example"])
def test_every_variable_is_documented(document: str) -> None:
    source = Path(config.__file__).read_text()
    read = set(re.findall(r'(?:get\(|environment\.get\()"([A-Z_]+)"', source))
    text = (ROOT / document).read_text()
    assert "RATE_LIMIT" in read
    assert [name for name in sorted(read) if name not in text] == []


def test_the_example_environment_is_a_valid_one() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    example = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert config.read({**example, "SECRET_KEY": "x"}).workers == 1
