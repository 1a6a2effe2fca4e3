"""Files of the demonstration's Slack workspace: uploaded to an address of their own, and then shared in a channel.

docs.slack.dev/reference/methods/files.getUploadURLExternal and files.completeUploadExternal.
"""

import uuid
from typing import Any, Final

MAX_FILES: Final = 200
"""That have begun and are not shared; the oldest are dropped."""


class Files:
    """The files of one workspace, by id."""

    def __init__(self) -> None:
        self._sizes: dict[str, int] = {}
        self._names: dict[str, str] = {}
        self._uploaded: set[str] = set()

    def begin(self, name: str, size: int) -> str:
        """The id of a new file, whose content comes later."""
        if len(self._sizes) >= MAX_FILES:
            self._drop(next(iter(self._sizes)))
        key = f"F{uuid.uuid4().hex[:10].upper()}"
        self._sizes[key], self._names[key] = size, name
        return key

    def receive(self, key: str, size: int) -> bool:
        """Whether this is the content of a file that has begun."""
        if self._sizes.get(key) != size:
            return False
        self._uploaded.add(key)
        return True

    def take(self, titles: dict[str, str], user: str) -> list[dict[str, Any]] | None:
        """Files to share, by their ids and titles; None if one of them has not been uploaded."""
        if not titles or not self._uploaded.issuperset(titles):
            return None
        taken = [
            {"id": key, "name": self._names[key], "title": title, "size": self._sizes[key], "user": user}
            for key, title in titles.items()
        ]
        for key in titles:
            self._drop(key)
        return taken

    def _drop(self, key: str) -> None:
        del self._sizes[key], self._names[key]
        self._uploaded.discard(key)
