"""The tutorial's commands, pasted one after the other, print what it says."""

import os
from pathlib import Path

from tests.system.server import ROOT, free_port
from tests.walkthrough import agrees, run, steps

TUTORIAL = ROOT / "docs" / "tutorial.md"


def test_the_tutorial_works_as_it_is_written(tmp_path: Path) -> None:
    page = TUTORIAL.read_text()
    for port in ("8000", "9000"):
        page = page.replace(port, str(free_port()))
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "DRAIN_SECONDS": "0"}
    for step, output in run(page, directory=ROOT, environment=environment, seconds=240):
        assert step.expected is None or agrees(step.expected, output), f"{step.commands}\n{output}"


def test_the_tutorial_shows_what_its_calls_print() -> None:
    assert len([step for step in steps(TUTORIAL.read_text()) if step.expected]) >= 6
