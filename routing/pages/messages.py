"""Messages that a view leaves for the next page."""

from typing import Final

from django.contrib.messages.storage import default_storage
from django.http import HttpRequest

SHOWN_ONCE: Final = "shown-once"
"""The tag of a message with a secret, which nobody can show again."""


def discard_messages(request: HttpRequest, *, but: str = "") -> None:
    """Forget those that a view has added, since what they say was undone, except those with the tag `but`."""
    kept = [each for each in request._messages._queued_messages if but and but in each.tags.split()]  # type: ignore[attr-defined] # Django's
    request._messages = storage = default_storage(request)  # type: ignore[attr-defined] # Django's middleware reads it
    for message in kept:
        storage.add(message.level, message.message, message.extra_tags)
