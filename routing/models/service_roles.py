"""Roles of staff for some services."""

from typing import Any, ClassVar

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models

from routing.configuration.faults import ConfigurationError
from routing.configuration.labels import labels
from routing.configuration.values import list_of
from routing.rights import GROUPS
from routing.router.policy import NAME

MAX_SERVICES = 1_000


def service_name(value: object) -> str:
    """Raises ValueError."""
    if not isinstance(value, str) or NAME.fullmatch(value) is None:
        raise ValueError("must be the name of a service")
    return value


class ServiceRole(models.Model):
    """A role of a user, or of all members of a group, for the services that are named, and for those that have all of
    the labels.

    A name stands for whatever service has it, also for one that is created later.
    """

    ROLES: ClassVar = [(name, name) for name in GROUPS.values()]

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, null=True, blank=True, related_name="+")
    group = models.ForeignKey("auth.Group", models.CASCADE, null=True, blank=True, related_name="+")
    role = models.CharField(max_length=16, choices=ROLES)
    services = models.JSONField(default=list, blank=True)
    labels = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ("pk",)
        verbose_name = "role for services"
        verbose_name_plural = "roles for services"
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(user=None, group__isnull=False) | models.Q(user__isnull=False, group=None),
                name="service_role_has_one_holder",
            )
        ]

    def __str__(self) -> str:
        return f"{self.role} of {self.of} for {self.holder}"

    @property
    def holder(self) -> str:
        return f"the group {self.group}" if self.group_id is not None else str(self.user)

    @property
    def of(self) -> str:
        """The services in words."""
        return ", ".join([*self.services, *(f"{name}={value}" for name, value in sorted(self.labels.items()))])

    def clean(self) -> None:
        if (self.user_id is None) == (self.group_id is None):
            raise ValidationError("Choose either a user or a group.")
        self.services, self.labels = self.services or [], self.labels or {}
        _check("services", list_of(service_name), self.services)
        _check("labels", labels, self.labels)
        if not self.services and not self.labels:
            raise ValidationError("Name services, or labels that they have.")
        if len(self.services) > MAX_SERVICES:
            raise ValidationError({"services": f"must be at most {MAX_SERVICES}"})

    def to_document(self) -> dict[str, Any]:
        """The role as the audit log keeps it."""
        return {"holder": self.holder, "role": self.role, "services": self.services, "labels": self.labels}


def _check(field: str, parse: Any, value: object) -> None:
    try:
        parse(value)
    except ConfigurationError as error:
        raise ValidationError({field: [str(fault) for fault in error.faults]}) from None
    except ValueError as fault:
        raise ValidationError({field: str(fault)}) from None
