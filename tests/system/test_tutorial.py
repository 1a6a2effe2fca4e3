"""The tutorial's commands, pasted one after the other, print what it says."""

import os
from pathlib import Path

import pytest

from tests.checkout import fresh_checkout, installing
from tests.ports import free_port
from tests.system.server import ROOT
from tests.walkthrough import agrees, record, run, steps, with_ports

TUTORIAL = ROOT / "docs" / "tutorial.md"


@pytest.mark.slow
def test_the_tutorial_works_as_it_is_written_in_a_fresh_checkout(tmp_path: Path) -> None:
    page = TUTORIAL.read_text()
    page = with_ports(page, {"8000": free_port(), "9000": free_port()})
    checkout = fresh_checkout(tmp_path / "clone")
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "DRAIN_SECONDS": "0", **installing()}
    done = run(page, directory=checkout, environment=environment, seconds=500)
    for step, output, _ in done:
        assert step.expected is None or agrees(step.expected, output), f"{step.commands}\n{output}"
    record("tutorial", done)


def test_the_tutorial_shows_what_its_calls_print() -> None:
    assert len([step for step in steps(TUTORIAL.read_text()) if step.expected]) >= 6
