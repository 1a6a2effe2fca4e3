"""The static files of Django's pages: collected ones in an image, those of the packages elsewhere."""

from pathlib import Path
from typing import Any, Final

MANIFEST: Final = "staticfiles.json"
"""What `collectstatic` writes last."""


def storages(root: Path) -> dict[str, Any]:
    """The STORAGES setting. `root` is where `collectstatic` writes."""
    storage = "gateway_project.pages.static_files.StaticFilesStorage"
    return {
        "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
        "staticfiles": {"BACKEND": storage, "OPTIONS": {"location": root}},
    }


def collected(root: Path) -> Path | None:
    """`root`, if it has collected files."""
    return root if (root / MANIFEST).is_file() else None
