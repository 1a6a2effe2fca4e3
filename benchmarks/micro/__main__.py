"""`python -m benchmarks.micro [--dry]`: times the rules and writes their medians to results.md."""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks import results
from benchmarks.figures import table


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.micro", description=__doc__)
    parser.add_argument("--dry", action="store_true", help="leave results.md as it is")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as place:
        file = Path(place, "micro.json")
        status = pytest.main([str(Path(__file__).parent), "--benchmark-disable-gc", f"--benchmark-json={file}"])
        measured = json.loads(file.read_bytes())["benchmarks"] if file.exists() else []
    if not status and not options.dry:
        results.publish(
            "Rules, one by one", section(measured), command=" ".join(["python -m benchmarks.micro", *arguments])
        )
    return int(status)


def section(measured: Sequence[Mapping[str, Any]]) -> str:
    """Microseconds, by what was timed."""
    rows = [
        [_name(item["fullname"]), f"{item['stats']['median'] * 1e6:.2f}", f"{item['stats']['iqr'] * 1e6:.2f}"]
        for item in measured
    ]
    return table(["rule", "median, us", "quartiles apart, us"], rows)


def _name(fullname: str) -> str:
    """`…::TestTheRouter::test_a_match_among[10]` as `the router: a match among 10`."""
    *_, group, test = fullname.split("::")
    words = test.removeprefix("test_").replace("_", " ").replace("[", " ").rstrip("]")
    area = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in group.removeprefix("Test"))
    return f"{area.strip()}: {words}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
