"""The Django app of sign-in, which is installed only if the environment configures it."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class SignInConfig(AppConfig):
    name = "metrics.sign_in"
    verbose_name = _("Sign-in")

    def ready(self) -> None:
        from metrics.sign_in import records  # noqa: PLC0415 - imports models, which are not loaded earlier

        records.connect_signals()
