"""Run the microbenchmarks and write their medians to results.md: `python -m benchmarks.micro [--dry]`."""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks import results
from benchmarks.stats import table


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.micro", description=__doc__)
    parser.add_argument("--dry", action="store_true", help="do not write results.md")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "micro.json")
        status = pytest.main([str(Path(__file__).parent), "--benchmark-disable-gc", f"--benchmark-json={file}"])
        measured = json.loads(file.read_bytes())["benchmarks"] if file.exists() else []
    if not status and not options.dry:
        results.publish(
            "Microbenchmarks", section(measured), command=" ".join(["python -m benchmarks.micro", *arguments])
        )
    return int(status)


def section(measured: Sequence[Mapping[str, Any]]) -> str:
    """The medians and interquartile ranges in microseconds."""
    rows = [
        [_name(item["fullname"]), f"{item['stats']['median'] * 1e6:.2f}", f"{item['stats']['iqr'] * 1e6:.2f}"]
        for item in measured
    ]
    return table(["benchmark", "median, us", "interquartile range, us"], rows)


def _name(fullname: str) -> str:
    """`…::TestRouter::test_match_among[10]` as `router: match among 10`."""
    *_, group, test = fullname.split("::")
    words = test.removeprefix("test_").replace("_", " ").replace("[", " ").rstrip("]")
    area = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in group.removeprefix("Test"))
    return f"{area.strip()}: {words}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
