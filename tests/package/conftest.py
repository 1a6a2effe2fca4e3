"""The wheel, built once, and where pip has installed it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.package.project import Project, projects

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("gateway_project", "metrics", "resilience", "routing")
SOURCES = (*PACKAGES, "templates", "pyproject.toml", "setup.py", "README.md")
STALE = "routing/migrations/0999_of_an_earlier_version.py"
"""What an earlier build has left in the checkout."""
PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]


@dataclass(frozen=True)
class Installed:
    """`site` has the packages, and is the only place where they are found."""

    wheel: Path
    site: Path

    def run(self, *command: str, cwd: Path, environment: Mapping[str, str] | None = None) -> str:
        """The output of a command that must succeed."""
        done = subprocess.run(
            [sys.executable, *command],
            cwd=cwd,
            env=self.environment(environment),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
        return {**kept, "PYTHONPATH": str(self.site), "PYTHONDONTWRITEBYTECODE": "1", **(more or {})}


def pytest_itemcollected(item: pytest.Item) -> None:
    item.add_marker(pytest.mark.slow)
    item.add_marker(pytest.mark.xdist_group("package"))


@pytest.fixture(scope="session")
def installed() -> Iterator[Installed]:
    with TemporaryDirectory(prefix="gw-package-") as name:
        directory = Path(name)
        source, site = directory / "source", directory / "site"
        source.mkdir()
        for item in SOURCES:
            if (ROOT / item).is_dir():
                shutil.copytree(ROOT / item, source / item, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / item, source)
        (stale := source / "build" / "lib" / STALE).parent.mkdir(parents=True)
        stale.touch()
        build = [*PIP, "wheel", "--no-build-isolation", "--no-deps", "--no-index", "--wheel-dir", str(directory)]
        subprocess.run([*build, str(source)], check=True, capture_output=True, timeout=120)
        wheel = next(directory.glob("*.whl"))
        install = [*PIP, "install", "--no-deps", "--no-index", "--target", str(site), str(wheel)]
        subprocess.run(install, check=True, capture_output=True, timeout=120)
        yield Installed(wheel, site)


@pytest.fixture(scope="session")
def project(installed: Installed) -> Iterator[Project]:
    """Another team's project that includes the gateway, served by uvicorn."""
    with TemporaryDirectory(prefix="gw-project-") as name, projects(installed, Path(name)) as served:
        yield served
