"""The version of the gateway, and the releases that it can be upgraded from and rolled back to.

Everything else that names the version is compared with it by tests/upgrades/test_versions.py.
"""

from collections.abc import Mapping
from typing import Final

VERSION: Final = "0.2.0"
"""On the main branch, the version of the next release."""
RELEASES: Final[Mapping[str, Mapping[str, str]]] = {
    "0.1.0": {"metrics": "0006_identity", "routing": "0034_signing_keys_and_certificates"},
}
"""The last migration of each app in each release."""
