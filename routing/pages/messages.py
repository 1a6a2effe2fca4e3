"""Messages that a view leaves for the next page."""

from django.contrib.messages.storage import default_storage
from django.http import HttpRequest


def discard_messages(request: HttpRequest) -> None:
    """Forget those that a view has added, since what they say was undone."""
    request._messages = default_storage(request)  # type: ignore[attr-defined] # Django's middleware reads it
