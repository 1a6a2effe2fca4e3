"""A stored answer as this request gets it: whole, a part, or the word that the client has it already."""

import msgspec

from resilience.cache import ranges, validation
from resilience.cache.entry import Entry
from resilience.cache.fields import Header
from resilience.cache.messages import Asked
from resilience.cache.ranges import Part


class Reply(msgspec.Struct):
    """Ready to send but for the gateway's own fields. A HEAD's body is left out by whoever sends it."""

    status: int
    headers: list[Header]
    body: bytes


def reply(entry: Entry, asked: Asked, age: int) -> Reply:
    """The stored answer for this request: conditions come before ranges (RFC 9110 section 13.2.2)."""
    if asked.decisive:
        if validation.still_holds(entry, asked):
            return Reply(304, [*validation.not_modified(entry.headers), _age(age)], b"")
        wanted = ranges.part(entry, asked)
        if wanted is not None:
            return _partly(entry, wanted, age)
    headers = [*entry.headers, _age(age)]
    if entry.field(b"content-length") is None and entry.status != 204:
        headers.append((b"content-length", b"%d" % len(entry.body)))
    return Reply(entry.status, headers, entry.body)


def _partly(entry: Entry, wanted: Part | ranges.Unsatisfiable, age: int) -> Reply:
    """A part, or that there is none (RFC 9110 sections 15.3.7 and 15.5.17)."""
    length = len(entry.body)
    if isinstance(wanted, ranges.Unsatisfiable):
        fields = [(b"content-range", b"bytes */%d" % length), (b"content-length", b"0"), _age(age)]
        return Reply(416, fields, b"")
    headers = [pair for pair in entry.headers if pair[0] not in (b"content-length", b"content-range")]
    headers.append((b"content-range", b"bytes %d-%d/%d" % (wanted.start, wanted.end - 1, length)))
    headers.append((b"content-length", b"%d" % (wanted.end - wanted.start)))
    return Reply(206, [*headers, _age(age)], entry.body[wanted.start : wanted.end])


def _age(age: int) -> Header:
    return (b"age", b"%d" % age)
