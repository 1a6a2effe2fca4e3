"""For tests that need something not every machine has: they are skipped, except in CI."""

import os
from typing import NoReturn

import pytest


def skip_or_fail(reason: str) -> NoReturn:
    """Skip the test, or fail it if NOTHING_SKIPPED=1, as `.ci/run` sets it."""
    if os.environ.get("NOTHING_SKIPPED") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
