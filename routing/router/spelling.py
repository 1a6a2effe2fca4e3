"""The readings of a path: the segments that servers may find in it. Pure functions.

Servers disagree about percent-encoded slashes, backslashes, `;parameters`, empty segments, trailing dots and spaces,
repeated decoding, and bytes that are not UTF-8. A route's rules hold for every path that one of them reads as the
route's; what cannot be read safely is refused. See docs/adr/0013-every-reading-of-a-path.md.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable
from typing import Final
from urllib.parse import quote_from_bytes

from routing.errors import BadRequest
from routing.messages import percent_encoding
from routing.router.policy import PathPolicy, Spelling, TrailingSlash

Segments = tuple[str, ...]
"""Decoded segments. A trailing slash is an empty last one; the path `/` has none."""

MAX_WORK: Final = 32 * 1024
"""Bytes of all readings of one path together: bounds the time to match them."""
MAX_UNUSUAL_BYTES: Final = 8_192

_UNUSUAL: Final = re.compile(rb"[^A-Za-z0-9._~!$&'()*+,=:@/-]|//|\.(?:/|\Z)")
"""What a path has that may be read in several ways, or that has to be decoded."""
_MALFORMED: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_ENCODED_SEPARATOR: Final = re.compile(rb"%2f|%5c|\\", re.IGNORECASE)
_PATH_PARAMETERS: Final = re.compile(rb";[^/]*")
_BREAK: Final = b"\n"
"""Between segments, while a whole path is decoded: an encoded slash is not yet one."""
_SURROGATE: Final = re.compile("[\udc80-\udcff]")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_ESCAPE: Final = re.compile(rb"%[0-9A-Fa-f]{2}")
_UNRESERVED: Final = re.compile(rb"[A-Za-z0-9._~-]")
_BEST_FIT: Final = str.maketrans({"\u2044": "/", "\u2215": "/", "\u2216": "\\", "\u29f5": "\\"})
"""Fraction and division slashes, set minus and the reverse solidus operator, in code pages that lack them."""
_SAFE: Final = "/%!$&'()*+,;=:@"
"""Characters of a path that stay as they are (RFC 3986 section 3.3), besides the unreserved ones."""


def check(path: bytes, policy: PathPolicy) -> None:
    """Raise BadRequest for a path that a service without routes does not accept."""
    if b"//" in path and policy.empty_segments is Spelling.REFUSE:
        raise BadRequest("the path contains empty segments")
    if policy.encoded_slash is Spelling.REFUSE and _ENCODED_SEPARATOR.search(path):
        raise BadRequest("the path contains an encoded slash or a backslash")


def readings(path: bytes, policy: PathPolicy) -> list[Segments]:
    """All readings of a path of a service with routes, the one by RFC 3986 first.

    Raises BadRequest for a path that is refused.
    """
    if not _UNUSUAL.search(path):
        return [_folded(tuple(path.decode().split("/")[1:]) if path != b"/" else (), policy)]
    if len(path) > MAX_UNUSUAL_BYTES:
        raise BadRequest(f"a path with encoded or unusual characters is longer than {MAX_UNUSUAL_BYTES} bytes")
    check(path, policy)
    if policy.encoded_slash is not Spelling.PASS and _ENCODED_SEPARATOR.search(path):
        raise BadRequest("the path contains an encoded slash or a backslash")
    if _MALFORMED.search(path):
        raise BadRequest("the path contains an incomplete percent-encoding")
    return list(dict.fromkeys([_folded(_well_formed(segments), policy) for segments in _all(path)]))


def normalized(path: bytes, policy: PathPolicy) -> bytes:
    """The form that all spellings of a resource's path share, by RFC 3986 section 6.2.2 and the service's settings.

    Unlike `readings`, it does not equate paths that only some servers read as the same.
    """
    if _UNUSUAL.search(path):
        path = quote_from_bytes(_ESCAPE.sub(_unescaped, path), _SAFE).encode()
    if policy.trailing_slash is TrailingSlash.SAME:
        path = path.removesuffix(b"/")
    if policy.case_sensitive:
        return path
    text = percent_encoding.decode(path).decode("utf-8", "surrogateescape")
    return folded([text])[0].encode("utf-8", "surrogateescape")


def _unescaped(escape: "re.Match[bytes]") -> bytes:
    """An unreserved character as itself, the escape of any other in upper case."""
    char = percent_encoding.decode(escape[0])
    return char if _UNRESERVED.fullmatch(char) else escape[0].upper()


def _all(path: bytes) -> list[Segments]:
    """The readings. A server behind one that has decoded the path, and taken its liberties, may decode it again."""
    raw = [path]
    if b";" in path:
        raw.append(_PATH_PARAMETERS.sub(b"", path))  # before it is decoded, as the Servlet specification says
    decoded = [_decoded(each[1:].split(b"/") if each != b"/" else []) for each in raw]
    once = _with_liberties(decoded, len(path))
    if b"%25" not in path:
        return once
    twice = _with_liberties([_decoded_again(segments) for segments in once], len(path))
    if any(_decoded_again(segments) != _joined(map(_bytes, segments)) for segments in twice):
        raise BadRequest("the path is percent-encoded more than twice")
    return [*once, *twice]


def _with_liberties(decoded: list[bytes], size: int) -> list[Segments]:
    """The readings of decoded paths, each of which adds one liberty to those before."""
    found = [_segments(path.decode("utf-8", "surrogateescape")) for path in decoded]
    found += [_segments(_lenient(path)) for path in decoded if not path.isascii()]
    found += [_segments(_latin(path)) for path in decoded if not _is_utf8(path)]
    text = "".join([segment for segments in found for segment in segments])
    for needs, liberty in _LIBERTIES:
        if needs.search(text):
            found = _with(found, liberty, size)
    return _with(found, _merged, size)


def _decoded(segments: list[bytes]) -> bytes:
    """All segments, each after a `_BREAK`. Raises BadRequest if one has another, which is a control character."""
    path = percent_encoding.decode(_joined(segments))
    if path.count(_BREAK) != len(segments):
        raise BadRequest("the path contains control characters")
    return path


def _decoded_again(segments: Segments) -> bytes:
    return _decoded([*map(_bytes, segments)])


def _joined(segments: Iterable[bytes]) -> bytes:
    return b"".join([_BREAK + segment for segment in segments])


def _bytes(segment: str) -> bytes:
    return segment.encode("utf-8", "surrogateescape")


def _segments(text: str) -> Segments:
    return tuple(text.split("\n")[1:])


def _lenient(path: bytes) -> str:
    """As decoded by a server that drops invalid bytes and maps compatible characters, such as full-width letters, and
    what only looks like a slash, as Windows does.
    """
    text = unicodedata.normalize("NFKC", path.decode("utf-8", "ignore").translate(_BEST_FIT))
    return "".join([char for char in text if unicodedata.category(char) != "Cf"])


def _latin(path: bytes) -> str:
    """As decoded by a server that takes each byte for a character, where the bytes are not UTF-8."""
    return unicodedata.normalize("NFKC", path.decode("latin-1"))


def _is_utf8(path: bytes) -> bool:
    try:
        path.decode()
    except UnicodeDecodeError:
        return False
    return True


def _with(found: list[Segments], liberty: Callable[[Segments], Segments], size: int) -> list[Segments]:
    result = list(dict.fromkeys([*found, *map(liberty, found)]))
    if len(result) > 1 and len(result) * size > MAX_WORK:
        raise BadRequest("the path can be read in too many ways")
    return result


def _split_at_slashes(segments: Segments) -> Segments:
    """Encoded slashes are slashes: most servers decode a path before they take it apart."""
    return tuple(part for segment in segments for part in segment.split("/"))


def _split_at_backslashes(segments: Segments) -> Segments:
    """Windows and browsers take a backslash for a slash."""
    return tuple(part for segment in segments for part in segment.split("\\"))


def _cut(segments: Segments) -> Segments:
    """An encoded `?` or `#` ends the path, for a server behind one that has decoded it."""
    for index, segment in enumerate(segments):
        kept = re.split("[?#]", segment, maxsplit=1)[0]
        if kept != segment:
            return (*segments[:index], kept)
    return segments


def _without_parameters(segments: Segments) -> Segments:
    """`;parameters` are no part of a segment, for Tomcat and Spring."""
    return tuple(segment.partition(";")[0] for segment in segments)


def _trimmed(segments: Segments) -> Segments:
    """Trailing dots and spaces are no part of a name, for Windows."""
    return tuple(segment.rstrip(" .") or segment for segment in segments)


def _merged(segments: Segments) -> Segments:
    """Several slashes are one, for nginx, Werkzeug and file systems."""
    if "" not in segments:
        return segments
    return tuple(segment for index, segment in enumerate(segments) if segment or index == len(segments) - 1)


_LIBERTIES: Final[tuple[tuple["re.Pattern[str]", Callable[[Segments], Segments]], ...]] = (
    (re.compile(";"), _without_parameters),
    (re.compile("/"), _split_at_slashes),
    (re.compile(";"), _without_parameters),
    (re.compile(r"\\"), _split_at_backslashes),
    (re.compile("[?#]"), _cut),
    (re.compile(";"), _without_parameters),
    (re.compile("[. ]"), _trimmed),
)
"""Each with what the path must contain. A parameter ends at a slash, or at what some servers take for one."""


def _well_formed(segments: Segments) -> Segments:
    """Raise BadRequest if a reading could lead out of its path."""
    text = "/".join(segments)
    if _CONTROL.search(text):
        raise BadRequest("the path contains control characters")
    if "." in text or " " in text:
        for segment in segments:
            if segment in (".", "..") or (" " in segment and not segment.strip(" .")):  # ".. " is ".." on Windows
                raise BadRequest("the path contains dot segments")
    return _shown(segments) if _SURROGATE.search(text) else segments


def _shown(segments: Segments) -> Segments:
    """Bytes that are not UTF-8 as `\xff`: parameters are sent in texts."""
    text = "\n".join(segments).encode("utf-8", "surrogateescape")
    return tuple(text.decode("utf-8", "backslashreplace").split("\n"))


def _folded(segments: Segments, policy: PathPolicy) -> Segments:
    return segments if policy.case_sensitive else folded(segments)


def folded(segments: Iterable[str]) -> Segments:
    """Segments as compared by a service that is not case-sensitive."""
    return tuple([unicodedata.normalize("NFKC", segment).casefold() for segment in segments])
