from django.http import HttpRequest, JsonResponse

from routing.cache import cache

from .models import Channel


def channel_list(request: HttpRequest) -> JsonResponse:
    channels = cache.get_or_set("channel-list", load_channels, ttl=300, tags=["slack:channels"])
    return JsonResponse({"channels": channels})


def load_channels() -> list[dict[str, str]]:
    return list(Channel.objects.order_by("name").values("name", "topic"))


async def channel_count(request: HttpRequest) -> JsonResponse:
    count = await cache.aget_or_set("channel-count", Channel.objects.acount, tags=["slack:channels"])
    return JsonResponse({"count": count})
