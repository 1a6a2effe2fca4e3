"""Credentials for backends in the database: encrypted refresh tokens, their state, and accounts being connected."""

from django.db import models


class BackendCredential(models.Model):
    """A credential of a service, a tenant or a caller at a backend.

    `subject` is `service`, `tenant:ID` or `caller:ID`, and `tenant` that of the caller, if any; `client` is a digest of
    the OAuth client. `refresh_token` is encrypted and never shown. `failure` is the code of the last failure, empty
    after a success.
    """

    service = models.CharField(max_length=63)
    subject = models.CharField(max_length=400)
    tenant = models.CharField(max_length=200, blank=True, default="", db_default="")
    client = models.CharField(max_length=32, editable=False)
    refresh_token = models.TextField(blank=True, editable=False)
    account = models.CharField(max_length=100, blank=True)
    connected_at = models.DateTimeField(null=True, blank=True)
    fresh_until = models.DateTimeField(null=True, blank=True)
    failure = models.CharField(max_length=64, blank=True)
    updated_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "credential"
        ordering = ("service", "subject", "pk")
        constraints = (
            models.UniqueConstraint(fields=("service", "subject", "client"), name="backend_credential_once"),
        )

    def __str__(self) -> str:
        return f"{self.service}: {self.subject}"


class PendingConnection(models.Model):
    """A link to connect an account, or the authorization that such a link or a session has begun. Each is used once.

    `digest` is of the link's token or of the `state` that the authorization server returns; `browser` is a digest of
    what the browser that began has in a cookie; `verifier` is the encrypted PKCE verifier. Both are empty for a link.
    `per` is whose account it is for, as the service was configured.
    """

    digest = models.CharField(max_length=64, unique=True)
    service = models.CharField(max_length=63)
    caller = models.CharField(max_length=400)
    tenant = models.CharField(max_length=200, blank=True)
    per = models.CharField(max_length=16, blank=True, default="", db_default="")
    browser = models.CharField(max_length=64, blank=True)
    verifier = models.TextField(blank=True)
    expires_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"{self.service}: {self.caller}"
