"""Structured Field Values for HTTP (RFC 9651): parsed strictly, and serialized in canonical form. Pure.

Bare items are represented as int, Decimal, str, Token, bytes, bool, Date and DisplayString.
"""

import binascii
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import unquote_to_bytes

MAX_MEMBERS: Final = 1_024
"""Members of a dictionary or a list; the least that RFC 9651 section 3 asks for."""
_KEY: Final = re.compile(r"[a-z*][a-z0-9_.*-]*+")
_NUMBER: Final = re.compile(r"-?(?:[0-9]{1,12}\.[0-9]{1,3}|[0-9]{1,15})(?![0-9.])")
_STRING: Final = re.compile(r'"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*+)"')
_DISPLAY: Final = re.compile(r'%"((?:[\x20-\x21\x23-\x24\x26-\x7e]|%[0-9a-f]{2})*+)"')
_TOKEN: Final = re.compile(r"([A-Za-z*][!#$%&'*+.^_`|~0-9A-Za-z:/-]*+)")
_BYTES: Final = re.compile(r":([A-Za-z0-9+/]*+={0,2}):")
_BOOLEAN: Final = re.compile(r"\?([01])")
_DATE: Final = re.compile(r"@(-?[0-9]{1,15})(?![0-9.])")
_SPACES: Final = re.compile(r" *+")
_OPTIONAL_SPACE: Final = re.compile(r"[ \t]*+")
_ESCAPE: Final = re.compile(r"\\(.)")


class Token(str):
    """A token, which is written without quotes."""

    __slots__ = ()


class Date(int):
    """Unix time in seconds."""

    __slots__ = ()


class DisplayString(str):
    """A string of any Unicode characters."""

    __slots__ = ()


BareItem = int | Decimal | str | bytes
Parameters = dict[str, BareItem]


class Item(NamedTuple):
    value: BareItem
    parameters: Parameters


class InnerList(NamedTuple):
    items: tuple[Item, ...]
    parameters: Parameters


Member = Item | InnerList


def parse_item(text: str) -> Item:
    """Raises ValueError if the text is not an item."""
    parser = _Parser(text)
    return parser.whole(parser.item())


def parse_list(text: str) -> list[Member]:
    """Raises ValueError if the text is not a list. An empty text is an empty list."""
    parser = _Parser(text)
    members: list[Member] = []
    if not parser.at_end:
        members.append(parser.member())
        while parser.comma(len(members)):
            members.append(parser.member())
    return parser.whole(members)


def parse_dictionary(text: str, *, unique: bool = False) -> dict[str, Member]:
    """Raises ValueError if the text is not a dictionary, or, with `unique`, if it has a key twice.

    Otherwise the last value of a key counts (RFC 9651 section 4.2.2).
    """
    parser = _Parser(text, unique=unique)
    members: dict[str, Member] = {}
    if not parser.at_end:
        parser.entry(members)
        while parser.comma(len(members)):
            parser.entry(members)
    return parser.whole(members)


T = TypeVar("T")


class _Parser:
    """A position in a text. Every method raises ValueError if the text does not continue as it has to."""

    def __init__(self, text: str, *, unique: bool = False) -> None:
        self._text = text.strip(" ")
        self._position = 0
        self._unique = unique

    @property
    def at_end(self) -> bool:
        return self._position >= len(self._text)

    def whole(self, value: T) -> T:
        if not self.at_end:
            raise ValueError(f"unexpected character at {self._position}")
        return value

    def comma(self, members: int) -> bool:
        """Whether another member follows; a comma may not be the last character."""
        self._skip(_OPTIONAL_SPACE)
        if self.at_end:
            return False
        self._expect(",")
        self._skip(_OPTIONAL_SPACE)
        if self.at_end or members >= MAX_MEMBERS:
            raise ValueError("a trailing comma, or too many members")
        return True

    def entry(self, members: dict[str, Member]) -> None:
        key = self._match(_KEY, "a key")[0]
        if key in members and self._unique:
            raise ValueError(f"duplicate key {key}")
        if self._text.startswith("=", self._position):
            self._position += 1
            members[key] = self.member()
        else:
            members[key] = Item(True, self.parameters())

    def member(self) -> Member:
        if not self._text.startswith("(", self._position):
            return self.item()
        self._position += 1
        items: list[Item] = []
        while True:
            self._skip(_SPACES)
            if self._text.startswith(")", self._position):
                self._position += 1
                return InnerList(tuple(items), self.parameters())
            if items and not self._text.startswith(" ", self._position - 1):
                raise ValueError("items of an inner list are separated by spaces")
            if len(items) >= MAX_MEMBERS:
                raise ValueError("too many items")
            items.append(self.item())

    def item(self) -> Item:
        return Item(self._bare(), self.parameters())

    def parameters(self) -> Parameters:
        found: Parameters = {}
        while self._text.startswith(";", self._position):
            self._position += 1
            self._skip(_SPACES)
            key = self._match(_KEY, "a parameter")[0]
            if key in found and self._unique:
                raise ValueError(f"duplicate parameter {key}")
            found[key] = True
            if self._text.startswith("=", self._position):
                self._position += 1
                found[key] = self._bare()
            if len(found) > MAX_MEMBERS:
                raise ValueError("too many parameters")
        return found

    def _bare(self) -> BareItem:
        first = self._text[self._position : self._position + 1]
        if first in _NUMERIC:
            number = self._match(_NUMBER, "a number")[0]
            return Decimal(number) if "." in number else int(number)
        form, what, read = _FORMS.get(first, (_TOKEN, "an item", Token))
        return read(self._match(form, what)[1])

    def _match(self, form: re.Pattern[str], what: str) -> re.Match[str]:
        found = form.match(self._text, self._position)
        if found is None:
            raise ValueError(f"expected {what} at {self._position}")
        self._position = found.end()
        return found

    def _skip(self, form: re.Pattern[str]) -> None:
        self._match(form, "space")

    def _expect(self, character: str) -> None:
        if not self._text.startswith(character, self._position):
            raise ValueError(f"expected {character} at {self._position}")
        self._position += 1


def _decode_bytes(text: str) -> bytes:
    """Padding may be missing (RFC 9651 section 4.2.7)."""
    padded = text if text.endswith("=") else text + "=" * (-len(text) % 4)
    try:
        return b64decode(padded, validate=True)
    except binascii.Error:
        raise ValueError("a byte sequence is not base64") from None


_NUMERIC: Final = frozenset("-0123456789")
_FORMS: Final[dict[str, tuple[re.Pattern[str], str, Callable[[str], BareItem]]]] = {
    '"': (_STRING, "a string", lambda text: _ESCAPE.sub(r"\1", text)),
    ":": (_BYTES, "a byte sequence", _decode_bytes),
    "?": (_BOOLEAN, "a boolean", lambda text: text == "1"),
    "@": (_DATE, "a date", Date),
    "%": (_DISPLAY, "a display string", lambda text: DisplayString(unquote_to_bytes(text).decode())),
}
"""By the first character: the form, its name, and what its content is read as."""


def serialize_item(item: Item) -> str:
    return serialize_bare(item.value) + serialize_parameters(item.parameters)


def serialize_member(member: Member) -> str:
    if isinstance(member, Item):
        return serialize_item(member)
    return f"({' '.join(map(serialize_item, member.items))}){serialize_parameters(member.parameters)}"


def serialize_list(members: Iterable[Member]) -> str:
    return ", ".join(map(serialize_member, members))


def serialize_dictionary(members: Mapping[str, Member]) -> str:
    parts = []
    for key, member in members.items():
        is_true = isinstance(member, Item) and member.value is True
        parts.append(f"{key}{serialize_parameters(member.parameters) if is_true else '=' + serialize_member(member)}")
    return ", ".join(parts)


def serialize_parameters(parameters: Parameters) -> str:
    return "".join(
        f";{key}" if value is True else f";{key}={serialize_bare(value)}" for key, value in parameters.items()
    )


def serialize_bare(value: BareItem) -> str:
    serialize: Callable[[Any], str] = _SERIALIZERS[type(value)]
    return serialize(value)


def _serialize_decimal(value: Decimal) -> str:
    text = str(value.quantize(Decimal("0.001"), ROUND_HALF_EVEN)).rstrip("0")
    return text + "0" if text.endswith(".") else text


def _serialize_string(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _serialize_display(value: DisplayString) -> str:
    return '%"' + "".join(map(_display_byte, value.encode())) + '"'


def _display_byte(byte: int) -> str:
    is_plain = 0x20 <= byte <= 0x7E and byte not in b'%"'
    return chr(byte) if is_plain else f"%{byte:02x}"


_SERIALIZERS: Final[dict[type, Callable[[Any], str]]] = {
    bool: lambda value: f"?{value:d}",
    int: str,
    Decimal: _serialize_decimal,
    str: _serialize_string,
    Token: str,
    bytes: lambda value: f":{b64encode(value).decode()}:",
    Date: lambda value: f"@{int(value)}",
    DisplayString: _serialize_display,
}
