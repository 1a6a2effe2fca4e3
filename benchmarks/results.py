"""benchmarks/results.md: one section per benchmark, replaced by each run."""

import re
from pathlib import Path
from typing import Final

from benchmarks import machine

FILE: Final = Path(__file__).with_name("results.md")


def publish(title: str, body: str, *, command: str, versions: dict[str, str] | None = None) -> None:
    """Print a section and write it to results.md, replacing the section with the same title."""
    text = f"`{command}`, {machine.describe()}.\n"
    if versions:
        text += "\n" + ", ".join(f"{name} {version}" for name, version in versions.items()) + ".\n"
    text += f"\n{body.strip()}\n"
    print(f"\n## {title}\n\n{text}")
    FILE.write_text(replace_section(FILE.read_text(), title, text))


def replace_section(document: str, title: str, text: str) -> str:
    """The document with this section replaced in its place, or appended if it is new."""
    section = f"## {title}\n\n{text.rstrip()}\n"
    match = re.search(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", document, re.MULTILINE | re.DOTALL)
    if match is None:
        return f"{document.rstrip()}\n\n{section}"
    tail = document[match.end() :]
    return document[: match.start()] + section + (f"\n{tail}" if tail else "")
