"""Changes of the configuration that wait for the approval of another person."""

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _


class ConfigurationProposal(models.Model):
    """What a change would have written: for each part of the document that differs, its new value, and a digest of the
    one that it replaces.

    `parts` are `{name: {"path": [...], "base": DIGEST or null, "value": ... or null}}`, masked; `secrets` are what the
    masks stand for. `identities` are the names of those who may not approve it. `service` is the one that it changes;
    empty if these are several, or something else than a service.
    """

    class State(models.TextChoices):
        WAITING = "waiting", _("Waiting")
        APPROVED = "approved", _("Approved")
        REJECTED = "rejected", _("Rejected")
        WITHDRAWN = "withdrawn", _("Withdrawn")

    created_at = models.DateTimeField(auto_now_add=True)
    author = models.CharField(max_length=200)
    identities = models.JSONField(default=list)
    summary = models.CharField(max_length=200)
    comment = models.CharField(max_length=500, blank=True)
    service = models.CharField(max_length=63, blank=True, default="", db_default="", db_index=True)
    parts = models.JSONField()
    differences = models.JSONField()
    secrets = models.JSONField(null=True, editable=False)
    state = models.CharField(max_length=16, choices=State.choices, default=State.WAITING, db_index=True)
    decided_at = models.DateTimeField(null=True)
    decided_by = models.CharField(max_length=200, blank=True)
    reason = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering: ClassVar = ("-pk",)
        verbose_name = "proposal"

    def __str__(self) -> str:
        return f"proposal {self.pk}: {self.summary}"
