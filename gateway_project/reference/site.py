"""Pages of the site that are written from other files of the repository: README, the changelog, and the decisions."""

import re
from pathlib import Path
from typing import Final

from gateway_project.reference.markdown import page, table

_LINK: Final = re.compile(r"\[([^\]]*)\]\((?!https?://)([^)\s]+)\)")
_BESIDE: Final = {"docs/adr": "decisions.md", "docs/environment.md": "environment.md"}
"""Files whose page on the site is in docs/reference/ too."""
_HEADING: Final = re.compile(r"^# (\d+)\. (.+)$", re.MULTILINE)
_DECISIONS: Final = """\
Why the gateway is built as it is: each decision with its context and its consequences, in the order in which they were
made."""
_FIGURES: Final = """\
The latest results of the benchmarks, as the commands of [performance](../performance.md) have written them."""


def relink(content: str) -> str:
    """Text of a file at the root of the repository, or one level below it, for a page in docs/reference/.

    Links into docs/ lead to the site's pages. Links to other files, which are not part of the site, become plain text.
    """

    def replaced(link: re.Match[str]) -> str:
        if link[2].startswith("#"):
            return link[0]
        words, target = link[1].removeprefix("docs/").removesuffix(".md"), link[2].removeprefix("../")
        file, separator, fragment = target.partition("#")
        if file in _BESIDE:
            return f"[{words}]({_BESIDE[file]}{separator}{fragment})"
        return f"[{words}](../{target.removeprefix('docs/')})" if target.startswith("docs/") else words

    return _LINK.sub(replaced, content)


def relink_sibling(content: str) -> str:
    """Text of a page in docs/ for one in docs/reference/."""
    return _LINK.sub(lambda link: f"[{link[1].removesuffix('.md')}](../{link[2]})", content)


def overview_page(readme: str) -> str:
    """README.md, with its links to files replaced by links to the site's pages about them."""
    return relink(readme)


def changelog_page(changelog: str) -> str:
    return relink(changelog)


def decisions_page(directory: Path) -> str:
    """A table of the decision records in `directory`."""
    rows = []
    for path in sorted(directory.glob("[0-9]*.md")):
        heading = _HEADING.search(path.read_text())
        if heading is None:
            raise ValueError(f"{path} does not begin with its number and title")
        rows.append((heading[1], f"[{heading[2]}](../adr/{path.name})"))
    return page("Decisions", _DECISIONS, table(("number", "decision"), rows))


def figures_page(results: str) -> str:
    """`results` is the text of benchmarks/results.md."""
    _, _, body = results.partition("\n")
    return page("Benchmark results", _FIGURES, relink(body))
