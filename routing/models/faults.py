"""Faults of the configuration as Django's forms and models report them."""

from collections.abc import Iterable

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError

from routing.configuration.faults import Fault, format_path


class FaultError(ValidationError):
    """One fault, with its whole path for forms that have a field for each key."""

    def __init__(self, message: str, fault: Fault) -> None:
        super().__init__(message)
        self.fault = fault


def to_validation_error(faults: Iterable[Fault], fields: Iterable[str]) -> ValidationError:
    """Faults as a ValidationError: each at the field with which its path begins, or as a non-field error."""
    known, messages = set(fields), dict[str, list[ValidationError]]()
    for fault in faults:
        start = fault.path[0] if fault.path else fault.key
        field = str(start) if start in known else "__all__"
        rest = format_path(fault.path[1:] if field == start else fault.path)
        message = f"{rest}: {fault.message}" if rest else fault.message
        messages.setdefault(field, []).append(FaultError(message, fault))
    return ValidationError(messages)


def fault_lines(error: ValidationError) -> str:
    """What a command prints of a row's faults: each in a line, with the field that it is about."""
    if not hasattr(error, "error_dict"):
        return "\n".join(error.messages)
    return "\n".join(
        message if field == NON_FIELD_ERRORS else f"{field}{'' if message.startswith('[') else ': '}{message}"
        for field, messages in error.message_dict.items()
        for message in messages
    )
