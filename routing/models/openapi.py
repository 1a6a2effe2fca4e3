"""The OpenAPI documents of services."""

from typing import Any

from django.db import models


class ServiceDocument(models.Model):
    """The OpenAPI document of a service as JSON, and the routes that its last import has made.

    `routes` are `[{"path": ..., "methods": [...]}]`. The document is no part of the configuration file.
    """

    service = models.OneToOneField("routing.Service", models.CASCADE, related_name="openapi")
    document = models.TextField()
    title = models.CharField(max_length=200, blank=True)
    version = models.CharField(max_length=200, blank=True)
    routes = models.JSONField(default=list, blank=True)
    actor = models.CharField(max_length=200)
    updated_at = models.DateTimeField(auto_now=True)

    objects: models.Manager["ServiceDocument"] = models.Manager()

    def __str__(self) -> str:
        return f"{self.title} {self.version}".strip() or "OpenAPI document"

    def to_document(self) -> dict[str, Any]:
        """The document as the audit log keeps it."""
        return {"title": self.title, "version": self.version, "bytes": len(self.document), "routes": len(self.routes)}
