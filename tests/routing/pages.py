"""What a browser reads of a page's form."""

from html.parser import HTMLParser
from typing import Any


class _Form(HTMLParser):
    """The data that is posted from the form `wanted` if its fields are left as they are."""

    def __init__(self, wanted: str) -> None:
        super().__init__()
        self.data: dict[str, list[str]] = {}
        self._wanted = wanted
        self._is_within = False
        self._templates = 0
        self._area: tuple[str, list[str]] | None = None
        self._select = ""
        self._takes_several = False

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attributes}
        if tag == "form":
            self._is_within = found.get("id") == self._wanted
        if tag == "template":
            self._templates += 1
        if not self._is_within or self._templates:
            return
        name = found.get("name", "")
        if tag == "textarea":
            self._area = name, []
        elif tag == "select":
            self._select, self._takes_several = name, "multiple" in found
        elif tag == "option" and self._select and "selected" in found:
            self._add(self._select, found.get("value", ""))
        elif tag == "input":
            self._add_input(name, found)

    def _add_input(self, name: str, found: dict[str, str]) -> None:
        kind = found.get("type", "text")
        if name and kind not in ("submit", "button", "file") and (kind != "checkbox" or "checked" in found):
            self._add(name, found.get("value", "on" if kind == "checkbox" else ""))

    def handle_endtag(self, tag: str) -> None:
        if tag == "template":
            self._templates -= 1
        if tag == "form":
            self._is_within = False
        if tag == "select" and self._select:
            if not self._takes_several:
                self.data.setdefault(self._select, [""])
            self._select = ""
        if tag == "textarea" and self._area:
            name, parts = self._area
            self._add(name, "".join(parts).removeprefix("\n"))
            self._area = None

    def handle_data(self, data: str) -> None:
        if self._area:
            self._area[1].append(data)

    def _add(self, name: str, value: str) -> None:
        self.data.setdefault(name, []).append(value)


def browser_form(page: Any, form: str = "") -> dict[str, Any]:
    """The data that a browser posts from a change page whose fields were left as they are."""
    wanted = form or f"{page.context['opts'].model_name}_form"
    parser = _Form(wanted)
    parser.feed(page.content.decode())
    assert parser.data, f"there is no form {wanted}"
    return {name: values if len(values) > 1 else values[0] for name, values in parser.data.items()}
