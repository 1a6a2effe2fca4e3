"""Style sheets: a brace that is missing silently disables every rule after it."""

import re
from pathlib import Path

import pytest
from django.conf import settings

SHEETS = sorted(Path(settings.BASE_DIR, "metrics", "static").rglob("*.css"))
TEXTS = re.compile(r"/\*.*?\*/|\"[^\"]*\"|'[^']*'", re.DOTALL)


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda sheet: sheet.name)
def test_braces_are_balanced(sheet: Path) -> None:
    depth = 0
    for brace in re.findall(r"[{}]", TEXTS.sub("", sheet.read_text(encoding="utf-8"))):
        depth += 1 if brace == "{" else -1
        assert depth in (0, 1, 2, 3), "a rule is not closed, or closed twice"
    assert depth == 0
