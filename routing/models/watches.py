"""Subscriptions at Google that webhooks keep: Gmail's watches and Calendar's channels."""

from datetime import datetime

from django.db import models


class Watch(models.Model):
    """One resource of one account that a webhook watches (routing/watches/record.py has the meaning of the fields).

    `subject` is `service`, `tenant:ID` or `caller:ID`, `tenant` that of the caller, `resource` a mailbox or a calendar.
    `digest` is of the settings, `superseded` has channels to be stopped. The worker `claimed_by` alone may renew it
    until `claimed_until`.
    """

    webhook = models.CharField(max_length=63)
    subject = models.CharField(max_length=400)
    tenant = models.CharField(max_length=200, blank=True, default="", db_default="")
    resource = models.CharField(max_length=300)
    service = models.CharField(max_length=63)
    base = models.CharField(max_length=200, blank=True, editable=False)
    digest = models.CharField(max_length=32, blank=True, editable=False)
    channel = models.CharField(max_length=64, blank=True)
    resource_id = models.CharField(max_length=200, blank=True)
    resource_uri = models.CharField(max_length=2_000, blank=True)
    superseded = models.JSONField(default=list, blank=True, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    renewed_at = models.DateTimeField(null=True, blank=True)
    renew_at = models.DateTimeField(null=True, blank=True)
    due_at = models.DateTimeField(null=True, blank=True, db_index=True)
    failure = models.CharField(max_length=64, blank=True)
    detail = models.CharField(max_length=500, blank=True)
    failures = models.PositiveIntegerField(default=0)
    failed_at = models.DateTimeField(null=True, blank=True)
    stale = models.BooleanField(default=False)
    claimed_by = models.CharField(max_length=32, blank=True, editable=False)
    claimed_until = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        verbose_name_plural = "watches"
        ordering = ("webhook", "resource", "subject", "pk")
        constraints = (models.UniqueConstraint(fields=("webhook", "subject", "resource"), name="watch_once"),)

    def __str__(self) -> str:
        return f"{self.webhook}: {self.resource}"

    def is_claimed(self, now: datetime) -> bool:
        """Whether a worker renews it at the moment."""
        return bool(self.claimed_by) and self.claimed_until is not None and now < self.claimed_until
