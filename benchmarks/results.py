"""benchmarks/results.md: one section for each benchmark, replaced by its latest run."""

import re
from pathlib import Path
from typing import Final

from benchmarks import machine

FILE: Final = Path(__file__).with_name("results.md")


def publish(title: str, body: str, *, command: str, versions: dict[str, str] | None = None) -> None:
    """Print a section and put it in the file, in place of the one with the same title."""
    text = f"`{command}`, {machine.described()}.\n"
    if versions:
        text += "\n" + ", ".join(f"{name} {version}" for name, version in versions.items()) + ".\n"
    text += f"\n{body.strip()}\n"
    print(f"\n## {title}\n\n{text}")
    FILE.write_text(replaced(FILE.read_text(), title, text))


def replaced(document: str, title: str, text: str) -> str:
    """The document with this section new, where it was or at the end."""
    section = f"## {title}\n\n{text.rstrip()}\n"
    found = re.search(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", document, re.MULTILINE | re.DOTALL)
    if found is None:
        return f"{document.rstrip()}\n\n{section}"
    tail = document[found.end() :]
    return document[: found.start()] + section + (f"\n{tail}" if tail else "")
