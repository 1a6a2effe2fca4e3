"""Revoked tokens, as operators list them."""

from django.db import models


class Revocation(models.Model):
    """A revocation of the token `token_id` (its `jti`), or of all tokens of `subject`; of every issuer's if `issuer` is
    empty.
    """

    issuer = models.CharField(max_length=200, blank=True)
    subject = models.CharField(max_length=255, blank=True)
    token_id = models.CharField(max_length=255, blank=True)
    until = models.DateTimeField(db_index=True)
    reason = models.CharField(max_length=500, blank=True)
    actor = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    objects: models.Manager["Revocation"] = models.Manager()

    class Meta:
        ordering = ("-pk",)

    def __str__(self) -> str:
        return f"token {self.token_id}" if self.token_id else f"subject {self.subject}"
