"""Runs the steps of the Dockerfile without Docker, in a directory in place of the image's root."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
MOVED: Final = re.compile(r"(?<![\w./-])/(?=(?:opt/venv|app|build)\b)")
"""The root of the paths that the image has of its own."""
PYTHON: Final = shutil.which("python3", path="/usr/bin") or sys.executable
"""The system's, which other users can execute; that of the tests may be in somebody's home."""


def instructions() -> list[tuple[str, str]]:
    """Instructions of the Dockerfile with their arguments, in order."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    found = [line.split(None, 1) for line in joined.splitlines() if line.strip()]
    return [(name, argument.strip()) for name, argument in found]


@dataclass
class Stage:
    """What the steps of one stage have set; `root` stands for the image's root."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    directory: str = "/"

    def env(self, argument: str) -> None:
        for name, value in re.findall(r'(\w+)=("[^"]*"|\S+)', argument):
            self.environment[name] = self.moved(value.strip('"').replace("$PATH", os.environ["PATH"]))

    def workdir(self, argument: str) -> None:
        self.directory = argument
        self.path(argument).mkdir(parents=True, exist_ok=True)

    def copy(self, argument: str) -> None:
        source, target = argument.split()
        self.path(target if target.startswith("/") else self.directory).mkdir(parents=True, exist_ok=True)
        for path in context() if source == "." else sorted(ROOT.glob(source)):
            destination = self.path(target if target.startswith("/") else self.directory) / path.name
            if path.is_dir():
                shutil.copytree(path, destination, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
            else:
                shutil.copy(path, destination)

    def run(self, argument: str) -> None:
        command = self.moved(re.sub(r"(?<![\w/-])(python|pip)(?= )", self._tool, argument))
        environment = {"PATH": os.environ["PATH"], **_of_the_package_index(), **self.environment}
        environment.pop("PIP_NO_CACHE_DIR", None)  # which makes an image smaller, and this slower
        done = subprocess.run(
            ["sh", "-ec", command],
            cwd=self.path(self.directory),
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"

    def path(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def moved(self, text: str) -> str:
        return MOVED.sub(f"{self.root}/", text)

    @staticmethod
    def _tool(match: "re.Match[str]") -> str:
        return PYTHON if match[1] == "python" else f"{sys.executable} -m pip"


def build(root: Path) -> Stage:
    """Run the build stage. Its result is in `root`."""
    stage = Stage(root)
    steps = {"ENV": stage.env, "WORKDIR": stage.workdir, "COPY": stage.copy, "RUN": stage.run, "ARG": stage.env}
    found = instructions()
    first, second = (index for index, (name, _) in enumerate(found) if name == "FROM")
    for name, argument in found[first + 1 : second]:
        steps[name](argument)
    return stage


def runtime(root: Path) -> tuple[Stage, dict[str, str]]:
    """The environment of the image, and the instructions that say how it is run."""
    found = instructions()
    second = [index for index, (name, _) in enumerate(found) if name == "FROM"][1]
    stage = Stage(root, directory="/app")
    settings = dict(found[second + 1 :])
    stage.env(settings["ENV"])
    return stage, settings


def command(argument: str) -> list[str]:
    """Of ENTRYPOINT, or of CMD in HEALTHCHECK, in exec form."""
    found: list[str] = json.loads(argument[argument.index("[") :])
    return found


def context() -> list[Path]:
    """The files and directories that .dockerignore lets into the image besides the locks."""
    kept = re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    return [ROOT / name for name in kept if "*" not in name]


def _of_the_package_index() -> dict[str, str]:
    """What pip is told about package indexes on this machine; settings in files are found by HOME."""
    return {name: text for name, text in os.environ.items() if name.startswith("PIP_") or name == "HOME"}
