"""Parts of Markdown pages."""

import re
from collections.abc import Iterable, Sequence


def code(content: str) -> str:
    """Inline code; nothing for an empty text. Backticks within need a longer fence (CommonMark section 6.1)."""
    if not content:
        return ""
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", content)), default=0))
    space = " " if content.startswith("`") or content.endswith("`") else ""
    return f"{fence}{space}{content}{space}{fence}"


def text(content: str) -> str:
    """Text in which only what is between backticks is markup."""
    parts = content.split("`")
    is_balanced = len(parts) % 2 == 1
    escaped = [part if is_balanced and number % 2 else _escape(part) for number, part in enumerate(parts)]
    return ("`" if is_balanced else "\\`").join(escaped)


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table. A vertical bar in a cell is escaped, in code too; a line break becomes a space."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def block(language: str, content: str) -> str:
    """A block of code."""
    return f"```{language}\n{content.rstrip()}\n```"


def page(title: str, *parts: str) -> str:
    """A page with parts separated by blank lines; empty ones are left out."""
    return "\n\n".join([f"# {title}", *(part.strip("\n") for part in parts if part.strip())]) + "\n"


def _cell(content: str) -> str:
    return " ".join(content.split()).replace("|", "\\|")


def _escape(content: str) -> str:
    """Vertical bars are left to tables, which need them escaped in code too."""
    return re.sub(r"([\\*_{}\[\]<>#])", r"\\\1", content)
