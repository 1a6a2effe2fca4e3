"""Where the provider sends logout tokens (OpenID Connect Back-Channel Logout 1.0): POST, without a browser."""

import logging
from hashlib import blake2b

from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse, JsonResponse, UnreadablePostError
from django.http.multipartparser import MultiPartParserError
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from metrics.models import Batch
from metrics.sign_in import provider, sessions
from metrics.sign_in.logout_token import LogoutRequest
from metrics.sign_in.provider_client import ProviderUnavailable
from routing.errors import InvalidToken

log = logging.getLogger(__name__)


@method_decorator(csrf_exempt, name="dispatch")
class BackChannelLogoutView(View):
    """200 if the sessions have ended, also if there were none; 400 for anything else (section 2.8)."""

    def post(self, request: HttpRequest) -> HttpResponse:
        configured = provider.configured()
        assert configured is not None  # noqa: S101 - without a provider, there is no such URL
        try:
            asked = provider.client(configured).logout_request(_token(request))
            _end(asked, configured.issuer)
        except InvalidToken as error:
            log.warning("a logout token is not valid: %s", error.detail)
            return _failure("invalid_request", error.detail)
        except ProviderUnavailable as error:
            log.warning("a logout token cannot be verified: %s", error)
            return _failure("temporarily_unavailable", "the provider's keys cannot be fetched")
        return _uncached(HttpResponse())


def _token(request: HttpRequest) -> str:
    try:
        sent = request.POST.getlist("logout_token")
    except UnreadablePostError:
        raise InvalidToken("the request body is incomplete") from None
    except (BadRequest, MultiPartParserError):
        raise InvalidToken("the request body is no form in UTF-8") from None
    if len(sent) != 1:
        raise InvalidToken("the form must have one logout_token")
    return str(sent[0])


def _end(asked: LogoutRequest, issuer: str) -> None:
    """The token counts as used when its sessions have ended, so that it can be sent again if they have not.

    Raises InvalidToken if it was used before.
    """
    used = f"logout-{blake2b(f'{issuer} {asked.token_id}'.encode(), digest_size=24).hexdigest()}"
    if Batch.objects.filter(pk=used).exists():
        raise InvalidToken("the token was used before")
    sessions.end_provider_sessions(asked, issuer)
    Batch.objects.get_or_create(pk=used)


def _failure(error: str, description: str) -> HttpResponse:
    return _uncached(JsonResponse({"error": error, "error_description": description}, status=400))


def _uncached(response: HttpResponse) -> HttpResponse:
    response["Cache-Control"] = "no-store"
    return response
