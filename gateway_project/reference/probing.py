"""What a parser of configuration values accepts, as its own error messages say it.

A parser is called with a value of an unknown type, with numbers and texts beyond any limit, and with unknown keys. So
the reference says what the gateway tells the author of a faulty file, and both change together.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from routing.configuration.faults import ConfigurationError
from routing.configuration.values import ValueParser

MAX_DEPTH: Final = 6
"""Levels of keys within keys."""
_MARK: Final = "\N{EMPTY SET}"
_BEYOND: Final = 10**30
"""Larger than any limit of a number."""
_CONTROL: Final = "\x01"
"""A text that no form of text accepts."""
_MAPPING: Final = "a mapping of names to values"
_LIST: Final = "a list"
_BOOLEAN: Final = "true or false"
_ANY: Final = "any "
_ANYTHING: Final = "any value"
_KNOWN: Final = re.compile(r"unknown key .* \(known: (.*)\)")
_QUOTED: Final = re.escape(repr(_CONTROL))


class _Untyped:
    """A value that is neither a text, a number, a list nor a mapping."""

    def __repr__(self) -> str:
        return _MARK


class Accepted(msgspec.Struct, frozen=True):
    """What a parser accepts: in words, and, where it is a mapping with fixed keys, what each key accepts."""

    words: str
    keys: "dict[str, Accepted]" = {}


def probe(parser: ValueParser, depth: int = MAX_DEPTH) -> Accepted:
    """What `parser` accepts. `on`, `off` and `null` are named if they stand for something of their own."""
    words, keys = _words(parser), dict[str, Accepted]()
    if words == _MAPPING and depth:
        keys = {key: probe(_at(parser, key), depth - 1) for key in _known_keys(parser)}
        words = "a mapping with the keys below" if keys else _MAPPING
    if words == _LIST and depth:
        item = probe(_at(parser, 0), depth - 1)
        words, keys = _list_words(item), item.keys
    elif not words.startswith(_LIST) and _takes_a_list(parser):
        words += ", or a list of them"
    return Accepted(" or ".join([words, *_further_words(parser, words)]), keys)


def _words(parser: ValueParser) -> str:
    message = _message(parser, _Untyped())
    if message is None:
        return _ANYTHING
    words = _without_value(message)
    if words in ("an integer", "a number"):
        limits = _message(parser, _BEYOND) or ""
        return f"{words} {limits.removeprefix('must be ')}" if "from" in limits else words
    if words == "a string":
        return _string_words(parser)
    return words


def _list_words(item: Accepted) -> str:
    if item.keys:
        return "a list of mappings with the keys below"
    return _LIST if item.words.startswith(_ANYTHING) else f"{_LIST}, each item {item.words}"


def _takes_a_list(parser: ValueParser) -> bool:
    """Whether the parser reports a fault in a list as a fault of an item."""
    try:
        parser([_Untyped()])
    except ConfigurationError as error:
        return any(fault.path[:1] == (0,) for fault in error.faults)
    except ValueError:
        pass
    return False


def _string_words(parser: ValueParser) -> str:
    message = _message(parser, _CONTROL)
    if message is None:
        return "a text"
    form = re.fullmatch(rf"{_QUOTED} is not (.*)", message)
    if form is not None:
        return form[1]
    words = message.removeprefix("must be ")
    return words if words != message else f"a text: {message}"


def _further_words(parser: ValueParser, words: str) -> list[str]:
    if words.startswith(_ANY) or words in (_BOOLEAN, _LIST):
        return []
    values = {"on": True, "off": False, "null": None}
    return [f"`{name}`" for name, value in values.items() if _message(parser, value) is None]


def _known_keys(parser: ValueParser) -> list[str]:
    form = _KNOWN.search(_message(parser, {_CONTROL: None}) or "")
    return form[1].split(", ") if form else []


def _at(parser: ValueParser, step: str | int) -> Callable[[object], object]:
    """The parser of one key, or of the items of a list. Faults elsewhere, such as a missing key, are not its own."""

    def parse(value: object) -> object:
        try:
            return parser([value] if step == 0 else {step: value})
        except ConfigurationError as error:
            own = [fault.without_prefix(1) for fault in error.faults if fault.path[:1] == (step,)]
            if own:
                raise ConfigurationError(own) from None
        except ValueError:  # a key beside it is missing
            pass
        return None

    return parse


def _message(parser: ValueParser, value: Any) -> str | None:
    """The message with which `parser` rejects a value; None if it accepts it."""
    try:
        parser(value)
    except ConfigurationError as error:
        return next(_messages(error))
    except ValueError as error:
        return str(error)
    return None


def _messages(error: ConfigurationError) -> Iterator[str]:
    for fault in error.faults:
        yield fault.message


def _without_value(message: str) -> str:
    """What a value must be, from a message that names the value."""
    text = message.removeprefix("must be ")
    if text.startswith(f"{_MARK} cannot be represented"):
        return "any JSON value"
    return re.sub(rf"(?:,? not {_MARK}.*| \(put it in quotes\))$", "", text.replace(f"{_MARK} is not ", ""))
