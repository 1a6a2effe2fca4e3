"""The .lock files have what the requirements files ask for, with hashes, and name no package index."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PINNED = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[a-z,]+\])?==([^\s;\\]+)", re.MULTILINE)


def pins(name: str) -> dict[str, set[str]]:
    """Versions by normalized name: of several platforms, one package may have several."""
    found: dict[str, set[str]] = {}
    for package, version in PINNED.findall((ROOT / name).read_text()):
        found.setdefault(re.sub(r"[-_.]+", "-", package).lower(), set()).add(version)
    return found


@pytest.mark.parametrize(
    "name", ["requirements-core", "requirements-firebase", "requirements-otel", "requirements-postgres"]
)
def test_the_lock_is_that_of_the_requirements(name: str) -> None:
    """`make lock` writes it."""
    locked = pins(f"{name}.lock")
    asked = pins(f"{name}.txt")
    assert asked
    assert {package: locked.get(package) for package in asked} == asked
    for extra in locked.keys() & pins("requirements-core.lock").keys():  # so that pip takes both together
        assert locked[extra] == pins("requirements-core.lock")[extra]


@pytest.mark.parametrize("path", sorted(ROOT.glob("requirements*.lock")), ids=lambda path: path.name)
def test_every_package_has_hashes_and_none_an_address(path: Path) -> None:
    text = path.read_text()
    assert "://" not in text
    assert "index-url" not in text
    for block in re.split(r"\n(?=[a-zA-Z])", text.split("\n", 2)[2]):
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), block.splitlines()[0]
