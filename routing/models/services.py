"""Services, their targets and routes, as operators edit them.

Fields hold settings as the configuration file writes them. An empty field means that the default applies: the
service's setting for a route, the gateway's for a service.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from django.core.validators import RegexValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from routing.configuration import fallbacks
from routing.configuration.decode import decode_route, decode_service
from routing.configuration.faults import ConfigurationError, Fault, Faults
from routing.configuration.sections import setting_parsers
from routing.configuration.targets import decode_target
from routing.models.faults import to_validation_error
from routing.models.own_hosts import reserved_fault
from routing.presets import shipped
from routing.router.hosts import domain_of
from routing.router.policy import NAME, Auth

ANY_SECRET: Final = lambda _name: ""  # noqa: E731 - rows are validated where the gateway's environment variables may not be set
SETTINGS: Final = tuple(setting_parsers(ANY_SECRET))
NAME_FORM: Final = f"^{NAME.pattern}$"


def preset_choices() -> list[tuple[str, str]]:
    return [(name, name) for name in shipped.names()]


class Settings(models.Model):
    """The settings that services and routes share."""

    enabled = models.BooleanField(default=True)
    auth = models.CharField(max_length=16, blank=True, choices=[(auth.value, auth.value) for auth in Auth])
    scopes = models.JSONField(null=True, blank=True)
    ip = models.JSONField(null=True, blank=True)
    rate_limit = models.CharField(max_length=32, blank=True)
    timeout = models.JSONField(null=True, blank=True)
    max_concurrency = models.PositiveIntegerField(null=True, blank=True)
    retries = models.JSONField(null=True, blank=True)
    headers = models.JSONField(null=True, blank=True)
    forward_authorization = models.BooleanField(null=True, blank=True)
    preserve_host = models.BooleanField(null=True, blank=True)
    cache = models.JSONField(null=True, blank=True)
    breaker = models.JSONField(null=True, blank=True)
    health = models.JSONField(null=True, blank=True)
    fallback = models.JSONField(null=True, blank=True)
    outcome = models.JSONField(null=True, blank=True)
    hold_off = models.JSONField(null=True, blank=True)
    outbound = models.JSONField(null=True, blank=True)
    cost_per_call = models.FloatField(null=True, blank=True)
    cors = models.JSONField(null=True, blank=True)
    websocket = models.BooleanField(null=True, blank=True)
    credential = models.JSONField(null=True, blank=True)
    identity = models.JSONField(null=True, blank=True)
    price = models.JSONField(null=True, blank=True)
    signature = models.JSONField(null=True, blank=True)
    request_log = models.JSONField(null=True, blank=True)

    class Meta:
        abstract = True

    def to_document(self) -> dict[str, Any]:
        """The settings as the configuration file writes them."""
        settings = {name: getattr(self, name) for name in SETTINGS}
        return {"enabled": self.enabled} | {name: value for name, value in settings.items() if value not in (None, "")}


class Service(Settings):
    name = models.CharField(max_length=63, unique=True, validators=[RegexValidator(NAME_FORM)])
    preset = models.CharField(max_length=32, blank=True, default="", db_default="", choices=preset_choices)
    hosts = models.JSONField(default=list, blank=True)
    paths = models.JSONField(null=True, blank=True)
    thresholds = models.JSONField(null=True, blank=True)
    status_page = models.JSONField(null=True, blank=True)
    labels = models.JSONField(null=True, blank=True)
    slo = models.JSONField(null=True, blank=True)
    tls = models.JSONField(null=True, blank=True)
    origin = models.CharField(max_length=16, blank=True, default="", db_default="", editable=False)
    """`file` if GATEWAY_CONFIG created it, which may then delete it."""

    class Meta:
        ordering = ("name",)
        permissions = (
            ("view_gateway", "Can view the gateway"),
            ("operate_gateway", "Can operate the gateway"),
            ("configure_gateway", "Can configure the gateway"),
        )
        constraints = (models.CheckConstraint(condition=models.Q(name__regex=NAME_FORM), name="service_name_form"),)

    def __str__(self) -> str:
        return self.name

    def to_document(self) -> dict[str, Any]:
        own: dict[str, Any] = {"preset": self.preset or None, "hosts": self.hosts or []}
        own |= {"paths": self.paths, "thresholds": self.thresholds, "status_page": self.status_page}
        own |= {"labels": self.labels, "slo": self.slo, "tls": self.tls}
        return {name: value for name, value in own.items() if value is not None} | super().to_document()

    def with_routes(self) -> dict[str, Any]:
        """The same with the service's routes."""
        return {**self.to_document(), "routes": [route.to_document() for route in self.routes.all()]}

    def fallback_faults(self, settings: Mapping[str, Any]) -> Iterator[Fault]:
        """Faults of the fallbacks in these settings of the service, with paths relative to it."""
        others = Service.objects.exclude(pk=self.pk).prefetch_related("routes")
        services = {**{other.name: other.with_routes() for other in others}, self.name: settings}
        own = (fault for fault in fallbacks.check(services) if fault.path[1] == self.name)
        return (fault.without_prefix(2) for fault in own)

    def clean(self) -> None:
        self.hosts = self.hosts or []
        faults = Faults()
        with faults.at():
            # Targets and routes are rows with their own clean().
            service = decode_service(self.name, {**self.to_document(), "targets": [{"url": "https://any"}]}, ANY_SECRET)
            others = Service.objects.exclude(pk=self.pk).values_list("hosts", flat=True)
            taken = {domain_of(str(host)) for hosts in others for host in hosts or ()}
            for name in taken.intersection(service.hosts):
                faults.add(("hosts",), f"{name!r} is already a host of another service")
            faults.found += [fault for host in service.hosts if (fault := reserved_fault(("hosts",), host))]
            faults.found += self.fallback_faults(self.to_document())
        if faults.found:
            raise to_validation_error(faults.found, (field.name for field in self._meta.fields))


class Target(models.Model):
    service = models.ForeignKey(Service, models.CASCADE, related_name="targets")
    url = models.CharField(max_length=500)
    weight = models.PositiveIntegerField(default=1)
    enabled = models.BooleanField(default=True)
    canary = models.FloatField(null=True, blank=True)
    always_up = models.BooleanField(default=False)
    tls = models.JSONField(null=True, blank=True)

    class Meta:
        ordering = ("url",)
        constraints = (models.UniqueConstraint(fields=("service", "url"), name="target_once_per_service"),)

    def __str__(self) -> str:
        return self.url

    def to_document(self) -> dict[str, Any]:
        document = {"url": self.url, "weight": self.weight, "enabled": self.enabled}
        optional = {"canary": self.canary, "always_up": self.always_up or None, "tls": self.tls}
        return document | {name: value for name, value in optional.items() if value is not None}

    def clean(self) -> None:
        faults = Faults()
        with faults.at():
            decode_target(self.to_document(), ANY_SECRET)
        if faults.found:
            raise to_validation_error(faults.found, ("url", "weight", "canary", "tls"))


class Route(Settings):
    service = models.ForeignKey(Service, models.CASCADE, related_name="routes")
    position = models.PositiveIntegerField(default=0, help_text=_("The first route that matches is used."))
    path = models.CharField(max_length=500)
    methods = models.JSONField(default=list, blank=True)
    invalidates = models.JSONField(default=list, blank=True)
    idempotency = models.BooleanField(default=False)

    class Meta:
        ordering = ("position", "pk")

    def __str__(self) -> str:
        return f"{' '.join(self.methods) or 'any'} {self.path}"

    def to_document(self) -> dict[str, Any]:
        own = {"path": self.path, "methods": self.methods or [], "invalidates": self.invalidates or []}
        return {**own, **super().to_document(), "idempotency": self.idempotency}

    def clean(self) -> None:
        self.methods, self.invalidates = self.methods or [], self.invalidates or []
        try:
            decode_route(self.to_document(), {}, ANY_SECRET)
        except ConfigurationError as error:
            raise to_validation_error(error.faults, (field.name for field in self._meta.fields)) from None
