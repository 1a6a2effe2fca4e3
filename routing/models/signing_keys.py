"""The keys of programs that sign their requests. Found by Django through routing.models."""

import re
from datetime import datetime
from typing import Final

from django.core.validators import RegexValidator
from django.db import models
from django.utils import timezone

from routing.authentication.signatures.algorithms import SignatureAlgorithm, verifier
from routing.configuration.faults import Faults
from routing.configuration.values import list_of, scope
from routing.models.consumers import Consumer
from routing.models.faults import to_validation_error

KEYID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~@/+-]{0,99}")


class SigningKey(models.Model):
    """A public key in PEM, or a secret: encrypted, or a reference such as `env:GATEWAY_SECRET_ACME`.

    After a rotation there are two with the same `keyid`: `valid_until` is set for the one that was replaced.
    """

    keyid = models.CharField(max_length=100, validators=[RegexValidator(f"^{KEYID.pattern}$")])
    consumer = models.ForeignKey(Consumer, models.CASCADE, related_name="signing_keys")
    algorithm = models.CharField(max_length=20, choices=[(name.value, name.value) for name in SignatureAlgorithm])
    public_key = models.TextField(blank=True, default="")
    secret = models.TextField(blank=True, default="", editable=False)
    scopes = models.JSONField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.CharField(max_length=200, blank=True, default="", editable=False)
    valid_until = models.DateTimeField(null=True, blank=True, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "signing key"
        ordering = ("keyid", "-pk")
        constraints = (
            models.UniqueConstraint(
                fields=("keyid",),
                condition=models.Q(valid_until=None),
                name="signing_key_once",
                violation_error_message="A key with this id already exists.",
            ),
        )

    def __str__(self) -> str:
        return self.keyid

    @property
    def name(self) -> str:
        """What its ciphertext is for, so that it cannot be moved to another key."""
        return f"signing key {self.keyid}"

    @property
    def until(self) -> datetime | None:
        """When it ends: by its expiry, or because it was replaced."""
        return min(filter(None, (self.valid_until, self.expires_at)), default=None)

    def state(self) -> str:
        until = self.until
        if until is not None and until <= timezone.now():
            return "expired"
        return "active" if self.valid_until is None else "replaced"

    def clean(self) -> None:
        faults = Faults()
        if self.scopes is not None:
            with faults.at("scopes"):
                list_of(scope)(self.scopes)
        if self.algorithm in list(SignatureAlgorithm):
            self._check_key(SignatureAlgorithm(self.algorithm), faults)
        if faults.found:
            raise to_validation_error(faults.found, ("scopes", "public_key"))

    def _check_key(self, algorithm: SignatureAlgorithm, faults: Faults) -> None:
        with faults.at("public_key"):
            if algorithm.is_secret:
                if self.public_key:
                    raise ValueError("hmac-sha256 has a secret, and no public key")
            else:
                verifier(algorithm, self.public_key)
