"""Runs the commands of a page of the documentation, and compares what they print with what the page says."""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

_BLOCK: Final = re.compile(r"^```(sh|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MARK: Final = "\N{END OF PROOF}"
_BEGIN: Final = "set -e\ntrap 'kill $(jobs -p) 2> /dev/null || true' EXIT"


class Step(NamedTuple):
    """Commands, and what they print; None if the page does not say. `...` in it stands for anything."""

    commands: str
    expected: str | None


def steps(page: str) -> list[Step]:
    """The blocks `sh` of a page, each with the block `text` that follows it, if one does."""
    found: list[Step] = []
    for language, content in _BLOCK.findall(page):
        if language == "sh":
            found.append(Step(content, None))
        else:
            found[-1] = Step(found[-1].commands, content)
    return found


def run(page: str, *, directory: Path, environment: Mapping[str, str], seconds: float) -> list[tuple[Step, str]]:
    """Run all commands in one shell, as somebody who pastes them would. Returns each step with its output.

    Raises AssertionError at the first step that fails, and ends all processes that the commands have started.
    """
    found = steps(page)
    marked = (f"{step.commands}\nprintf '%s' '{_MARK}'" for step in found)
    done = subprocess.run(
        ["timeout", "--kill-after=5", str(seconds), "bash", "-c", "\n".join([_BEGIN, *marked])],
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        text=True,
    )
    outputs = done.stdout.split(_MARK)
    assert done.returncode == 0, f"{found[min(len(outputs), len(found)) - 1].commands}\n{outputs[-1]}\n{done.stderr}"
    return list(zip(found, outputs, strict=False))


def agrees(expected: str, output: str) -> bool:
    """Whether the output is as a page says."""
    pattern = ".*".join(map(re.escape, expected.strip().split("...")))
    return re.fullmatch(pattern, output.replace("\r", "").strip(), re.DOTALL) is not None
