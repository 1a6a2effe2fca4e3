"""The section `tls` of a service."""

from typing import Final

from django.utils.translation import gettext_lazy as _

from routing.admin.setting_fields.base import Choice, Lines, Text
from routing.admin.setting_fields.section import Section, key
from routing.tls.policy import TlsVersion

TLS: Final = Section(
    _("TLS to the backend"),
    _("For https targets. A target may have settings of its own, which replace these one by one."),
    (),
    (
        key("ca", Lines, _("the only authorities that are trusted: file:/run/secrets/ca.pem, or certificates in PEM")),
        key("certificate", Lines, _("the gateway's own, with those that issued it: file:/run/secrets/gateway.pem")),
        key("key", Text, _("of the certificate, unless its file has it: file:/run/secrets/gateway.key")),
        key("server_name", Text, _("of the backend's certificate, and of SNI; default: the target's host")),
        key("minimum", Choice, _("default: 1.2"), choices=TlsVersion),
    ),
)
