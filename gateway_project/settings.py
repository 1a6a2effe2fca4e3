"""Django's settings, derived from `config.py`."""

from django.urls import reverse_lazy

from gateway_project import config as environment
from gateway_project.django_settings import admin_theme, allauth, static
from gateway_project.django_settings.databases import databases
from gateway_project.django_settings.redis import caches, channel_layers, session_engine
from gateway_project.environment.installation import BASE_DIR, IS_CHECKOUT
from gateway_project.environment.installation import TEMPLATES as PAGES
from gateway_project.logs.configuration import configuration
from gateway_project.version import VERSION

CONFIG = environment.read()

SECRET_KEY = CONFIG.secret_key
DEBUG = CONFIG.debug
ALLOWED_HOSTS = [*CONFIG.allowed_hosts, *filter(None, (CONFIG.staff.host, CONFIG.portal.origin.host))]

INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "gateway_project",
    "metrics",
    "routing",
]
MIDDLEWARE = [
    "metrics.middleware.RequestIdMiddleware",
    "routing.middleware.TrustedProxyMiddleware",
    "routing.middleware.ServiceHostMiddleware",
    "routing.middleware.BodyLimitMiddleware",
    "gateway_project.pages.middleware.LanguageMiddleware",
    "metrics.throttling.ThrottleMiddleware",
    "metrics.middleware.CorsMiddleware",
    "gateway_project.pages.middleware.ContentSecurityPolicyMiddleware",
    "gateway_project.pages.middleware.StaffOriginMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "metrics.middleware.HostMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "routing.middleware.ActorMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "metrics.approvals.ApprovalMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
CSRF_FAILURE_VIEW = "metrics.api.fallback.csrf_failure"
ROOT_URLCONF = "gateway_project.urls"
ASGI_APPLICATION = "gateway_project.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [PAGES],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

DATABASES = databases(CONFIG.database_url, CONFIG.database_connections)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

CACHES = caches(CONFIG.redis_server, CONFIG.redis_prefix)
SESSION_ENGINE = session_engine(CONFIG.redis_server)
CHANNEL_LAYERS = channel_layers(CONFIG.redis_server, CONFIG.redis_prefix)

LANGUAGE_CODE = "en"
FORMAT_MODULE_PATH = "gateway_project.formats"
LANGUAGES = [("en", "English"), ("de", "Deutsch")]
LOCALE_PATHS = [BASE_DIR / "gateway_project" / "locale"]
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "/static/"
COLLECTED = (BASE_DIR if IS_CHECKOUT else CONFIG.var) / "staticfiles"
STORAGES = static.storages(COLLECTED)
STATIC_ROOT = static.collected(COLLECTED)
WHITENOISE_USE_FINDERS = STATIC_ROOT is None
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]

SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = not DEBUG
SESSION_COOKIE_HTTPONLY = LANGUAGE_COOKIE_HTTPONLY = True
LANGUAGE_COOKIE_SECURE = not DEBUG
LANGUAGE_COOKIE_SAMESITE = "Lax"
LANGUAGE_COOKIE_AGE = 365 * 86_400
SESSION_COOKIE_NAME, CSRF_COOKIE_NAME, LANGUAGE_COOKIE_NAME = (
    f"{CONFIG.cookie_prefix}{name}" for name in ("sessionid", "csrftoken", "django_language")
)
# A list of 2,000 routes has a checkbox for each. The size of a body is limited as any other's.
DATA_UPLOAD_MAX_NUMBER_FIELDS = 5_000
# While the cache is unavailable, nothing is throttled.
RATELIMIT_FAIL_OPEN = True
# In a cookie, messages would be sent to backends: one contains a new API key.
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"
SECURE_CONTENT_TYPE_NOSNIFF = True
# TLS is terminated by the proxy in front, which redirects to https and sets HSTS.
SILENCED_SYSTEM_CHECKS = ["security.W004", "security.W008"]
LOGIN_URL = reverse_lazy("admin:login")
LOGIN_REDIRECT_URL = reverse_lazy("admin:index")

REST_FRAMEWORK = {
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.SessionAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAdminUser"],
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Intelligence Gateway",
    "DESCRIPTION": "An API gateway with rate limits, authentication, caching and circuit breakers.",
    "VERSION": VERSION,
    "SERVE_INCLUDE_SCHEMA": False,
    "POSTPROCESSING_HOOKS": ["drf_spectacular.hooks.postprocess_schema_enums", "metrics.api.openapi.add_gateway"],
    "ENUM_NAME_OVERRIDES": {
        "CircuitState": "resilience.breaker.machine.State",
        "CallerKind": "metrics.callers.kinds.KINDS",
        "RequestKind": "metrics.api.requests.KINDS",
    },
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "validatorUrl": None},
}
UNFOLD = admin_theme.UNFOLD
if CONFIG.sign_in is not None:
    INSTALLED_APPS += allauth.APPS
    MIDDLEWARE += allauth.MIDDLEWARE
    globals().update(allauth.values())
    UNFOLD = admin_theme.with_sign_in(UNFOLD)

LOGGING = configuration(CONFIG.log_format)
