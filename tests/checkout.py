"""A fresh checkout of the files under version control, as they are now: a clone would lack what is not committed."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.needs import skip_or_fail
from tests.system.server import ROOT


def fresh_checkout(directory: Path) -> Path:
    """Copy the files into `directory`, which is created. Nothing that a build or an installation has made is there."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        skip_or_fail("this is no checkout of a repository")
    for name in filter(None, listed.stdout.decode().split("\0")):
        source, target = ROOT / name, directory / name
        if source.is_symlink() or source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    return directory


def installing() -> dict[str, str]:
    """What pip needs besides PATH and HOME: this machine's package indexes, and its cache.

    It compiles no module, which takes longer than all else: Python compiles those that are used when it imports them.
    """
    found = {name: text for name, text in os.environ.items() if name.startswith("PIP_") and name != "PIP_NO_CACHE_DIR"}
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "pip"
    configuration = Path.home() / ".config" / "pip" / "pip.conf"
    return {"PIP_CACHE_DIR": str(cache), "PIP_CONFIG_FILE": str(configuration), "PIP_COMPILE": "0"} | found
