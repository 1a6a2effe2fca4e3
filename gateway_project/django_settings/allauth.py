"""Django's settings for django-allauth, which are in force if the environment configures how staff sign in (ADR 34)."""

from typing import Any, Final

APPS: Final = ["allauth", "allauth.account", "allauth.mfa", "allauth.usersessions", "metrics.sign_in"]
MIDDLEWARE: Final = ["allauth.account.middleware.AccountMiddleware"]


def values() -> dict[str, Any]:
    """No email is sent or needed, and nobody signs up. Attempts are limited by metrics.throttling."""
    return {
        "ACCOUNT_ADAPTER": "metrics.sign_in.adapters.AccountAdapter",
        "ACCOUNT_LOGIN_METHODS": {"username"},
        "ACCOUNT_SIGNUP_FIELDS": ["username*", "password1*"],
        "ACCOUNT_EMAIL_VERIFICATION": "none",
        "ACCOUNT_RATE_LIMITS": False,
        "MFA_ADAPTER": "metrics.sign_in.adapters.SecondFactorAdapter",
        "MFA_ALLOW_UNVERIFIED_EMAIL": True,
        "MFA_FORMS": {
            "activate_totp": "metrics.sign_in.forms.SetUpForm",
            "authenticate": "metrics.sign_in.forms.SecondFactorForm",
            "reauthenticate": "metrics.sign_in.forms.SecondFactorConfirmForm",
        },
        "MFA_SUPPORTED_TYPES": ["totp", "recovery_codes"],
        "MFA_TOTP_ISSUER": "Intelligence Gateway",
    }
