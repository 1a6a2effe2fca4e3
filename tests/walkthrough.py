"""Runs the commands of a page of the documentation, and compares what they print with what the page says."""

import json
import re
import subprocess
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

ARTEFACTS: Final = Path(__file__).parents[1] / "test-artefacts"
_BLOCK: Final = re.compile(r"^```(sh|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MARK: Final = "\N{END OF PROOF}"
_TIME: Final = re.compile(rf"{_MARK}(\d+)\.(\d+){_MARK}")
_BEGIN: Final = "set -e\ntrap 'kill $(jobs -p) 2> /dev/null || true' EXIT"


class Step(NamedTuple):
    """Commands, and what they print; None if the page does not say. `...` in it stands for anything."""

    commands: str
    expected: str | None


class Done(NamedTuple):
    """A step, what it has printed, and how many seconds it took."""

    step: Step
    output: str
    seconds: float


def steps(page: str) -> list[Step]:
    """The blocks `sh` of a page, each with the block `text` that follows it, if one does."""
    found: list[Step] = []
    for language, content in _BLOCK.findall(page):
        if language == "sh":
            found.append(Step(content, None))
        else:
            found[-1] = Step(found[-1].commands, content)
    return found


def with_ports(text: str, ports: Mapping[str, int]) -> str:
    """The text with other ports. They are replaced at once: one may have the digits of another."""
    return re.sub(rf"(?<!\d)({'|'.join(ports)})(?!\d)", lambda found: str(ports[found[0]]), text)


def run(page: str, *, directory: Path, environment: Mapping[str, str], seconds: float) -> list[Done]:
    """Run all commands in one shell, as somebody who pastes them would.

    Raises AssertionError at the first step that fails, and ends all processes that the commands have started.
    """
    found = steps(page)
    mark = f"printf '%s' \"{_MARK}$EPOCHREALTIME{_MARK}\""
    marked = (f"{step.commands}\n{mark}" for step in found)
    done = subprocess.run(
        ["timeout", "--kill-after=5", str(seconds), "bash", "-c", "\n".join([_BEGIN, mark, *marked])],
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        text=True,
    )
    outputs = _TIME.split(done.stdout)[3::3]
    assert done.returncode == 0, f"{found[min(len(outputs), len(found)) - 1].commands}\n{outputs[-1]}\n{done.stderr}"
    times = [float(f"{whole}.{part}") for whole, part in _TIME.findall(done.stdout)]
    lengths = [end - begin for begin, end in pairwise(times)]
    return [Done(*each) for each in zip(found, outputs, lengths, strict=False)]


def record(name: str, done: list[Done]) -> None:
    """Write how many seconds a page took, and each of its steps, to `test-artefacts/NAME.json`."""
    ARTEFACTS.mkdir(exist_ok=True)
    steps = [{"commands": each.step.commands, "seconds": round(each.seconds, 1)} for each in done]
    found = {"seconds": round(sum(each.seconds for each in done), 1), "steps": steps}
    (ARTEFACTS / f"{name}.json").write_text(json.dumps(found, indent=1))


def agrees(expected: str, output: str) -> bool:
    """Whether the output is as a page says."""
    pattern = ".*".join(map(re.escape, expected.strip().split("...")))
    return re.fullmatch(pattern, output.replace("\r", "").strip(), re.DOTALL) is not None
