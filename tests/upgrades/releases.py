"""The code of releases, from the history of the repository."""

import io
import subprocess
import tarfile
from pathlib import Path
from typing import Final

import pytest

from gateway_project.version import RELEASES
from tests.system.server import ROOT

COMMITS: Final = {"0.1.0": "97c67d6e64974b80be62905274fbe539dcc8f779"}
LAST: Final = list(RELEASES)[-1]


def extract(version: str, directory: Path) -> Path:
    """The code of a release, in `directory`. Skips the test where the checkout has no history, as a shallow clone."""
    packed = subprocess.run(("git", "archive", COMMITS[version]), cwd=ROOT, capture_output=True, check=False)
    if packed.returncode:
        pytest.skip(f"the history has no {version}: {packed.stderr.decode()}")
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(directory, filter="data")
    return directory
