"""Keys with which the gateway signs who a caller is."""

from django.db import models


class IdentityKey(models.Model):
    """`sealed` is the encrypted private key, and `public` its public half as a JWK."""

    kid = models.CharField(max_length=64, unique=True, editable=False)
    sealed = models.TextField(editable=False)
    public = models.JSONField(editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("created_at", "pk")

    def __str__(self) -> str:
        return self.kid
