"""The wheel: what is in it, and that the gateway runs from it, without the repository."""

import re
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.package.conftest import PACKAGES, STALE, Installed

ROOT = Path(__file__).resolve().parents[2]
DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def files(directory: str, pattern: str) -> set[str]:
    return {
        path.relative_to(ROOT / directory).as_posix()
        for path in (ROOT / directory).rglob(pattern)
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_has_all_files(installed: Installed) -> None:
    names = set(zipfile.ZipFile(installed.wheel).namelist())
    assert {f"gateway_project/templates/{name}" for name in files("templates", "*.html")} <= names
    for package in PACKAGES:
        needed = {
            f"{package}/{name}" for name in files(package, "*") if not name.endswith(".po")
        }  # .mo are what is read
        assert needed <= names
    top = {name.split("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == set(PACKAGES)
    assert STALE not in names


def test_the_command_runs_without_the_repository(installed: Installed, tmp_path: Path) -> None:
    """With the database in the user's state directory, which an upgrade does not replace."""
    command = str(installed.site / "bin" / "intelligence-gateway")
    environment = {"HOME": str(tmp_path), "SECRET_KEY": "for tests alone, and long enough to sign with"}
    installed.run(command, "migrate", "--verbosity", "0", cwd=tmp_path, environment=environment)
    state = tmp_path / ".local/state/intelligence-gateway"
    assert (state / "gateway.sqlite3").is_file()
    assert state.stat().st_mode & 0o777 == 0o700
    assert "slack" in installed.run(command, "config", "presets", cwd=tmp_path, environment=environment)
    found = installed.run(command, "findstatic", "dashboard/page.js", cwd=tmp_path, environment=environment)
    assert str(installed.site) in found
    page = "from django.template.loader import get_template; print(get_template('dashboard/overview.html').origin)"
    shown = installed.run(command, "shell", "--no-imports", "-c", page, cwd=tmp_path, environment=environment)
    assert str(installed.site / "gateway_project" / "templates") in shown


@pytest.mark.parametrize("name", ["core", "firebase", "geoip", "otel", "postgres"])
def test_the_tested_versions_are_in_the_declared_ranges(name: str) -> None:
    listed = DECLARED["dependencies"] if name == "core" else DECLARED["optional-dependencies"][name]
    declared = {key(found.name): found for found in map(Requirement, listed)}
    lines = (ROOT / f"requirements-{name}.txt").read_text().splitlines()
    pinned = {key(found.name): found for found in map(Requirement, (line for line in lines if "==" in line))}
    assert declared.keys() == pinned.keys()
    for package, requirement in pinned.items():
        version = str(requirement.specifier).removeprefix("==")
        assert declared[package].specifier.contains(version), package
        assert declared[package].extras == requirement.extras, package


def key(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
