"""The configuration's versions, what each changed, and the documents to roll back to."""

from django.db import models


class ConfigurationVersion(models.Model):
    """A single row, incremented in the transaction of every change. Workers poll it to detect changes."""

    number = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return str(self.number)


class ConfigurationChange(models.Model):
    """What was changed at one version of the configuration. `row` is the id of what `kind` names; see
    routing/database/changes.py.
    """

    version = models.BigIntegerField(db_index=True)
    kind = models.CharField(max_length=16)
    row = models.BigIntegerField()

    def __str__(self) -> str:
        return f"{self.version}: {self.kind} {self.row}"


class ConfigurationRevision(models.Model):
    """The configuration file after a change, with who made the change, when, and what it changed. Its number is its id.

    `comment` is what its author wrote about it, and `label` a name that staff give it, such as `before the sale`.
    `service` is the one that was changed; empty if that were several, or something else than a service.
    """

    created_at = models.DateTimeField(auto_now_add=True)
    actor = models.CharField(max_length=200)
    summary = models.CharField(max_length=200)
    label = models.CharField(max_length=64, blank=True, default="", db_default="")
    comment = models.CharField(max_length=500, blank=True, default="", db_default="")
    service = models.CharField(max_length=63, blank=True, default="", db_default="", db_index=True)
    document = models.TextField()
    secrets = models.JSONField(null=True, editable=False)
    """The secrets that the document's masks stand for, for a rollback. Never shown."""

    class Meta:
        ordering = ("-pk",)

    def __str__(self) -> str:
        return f"{self.pk}: {self.summary}"
