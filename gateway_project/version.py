"""The version of the gateway. Everything else that names it is compared with it by tests/test_versions.py."""

from typing import Final

VERSION: Final = "0.1.0"
