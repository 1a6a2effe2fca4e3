"""Admin pages of models that belong to Django or a package: what is changed there is in the audit log too."""

from collections.abc import Iterable
from typing import Any, Final

from django.http import HttpRequest

from metrics.audit import record_operation, staff_actor

_STATE: Final = "_recorded_state"
"""Where a row's state is kept between its reading for a form and its saving."""


class RecordedMixin:
    """Records `NOUN.created`, `NOUN.changed` and `NOUN.deleted` where Django adds entries to its own log: once the
    row and what belongs to it is saved, and before it is deleted.
    """

    noun: str

    def document_of(self, row: Any) -> dict[str, Any]:
        """What is recorded of a row. It holds no secret."""
        raise NotImplementedError

    def secret_of(self, row: Any) -> Any:  # noqa: ARG002 - for subclasses
        """What may change although the document does not; never recorded itself."""
        return None

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        row = super().get_object(request, object_id, from_field)  # type: ignore[misc] # a mixin of ModelAdmin
        if row is not None:
            setattr(row, _STATE, self._state(row))
        return row

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        self._record(request, "created", None, self.document_of(obj))
        return super().log_addition(request, obj, message)  # type: ignore[misc] # as above

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        before, secret = getattr(obj, _STATE, (None, None))
        after, present = self._state(obj)
        if secret != present:
            self._record(request, "changed", before, {**after, "password": "changed"})
        elif before != after:
            self._record(request, "changed", before, after)
        return super().log_change(request, obj, message)  # type: ignore[misc] # as above

    def log_deletions(self, request: HttpRequest, queryset: Iterable[Any]) -> Any:
        for row in queryset:
            self._record(request, "deleted", self.document_of(row), None)
        return super().log_deletions(request, queryset)  # type: ignore[misc] # as above

    def _state(self, row: Any) -> tuple[dict[str, Any], Any]:
        return self.document_of(row), self.secret_of(row)

    def _record(self, request: HttpRequest, verb: str, before: Any, after: Any) -> None:
        record_operation(staff_actor(request.user), f"{self.noun}.{verb}", before=before, after=after)
